"""The range of each raw feature, for a server that tells values which the training never saw.

What the training saw is read from the footers of its Parquet files, which know the least and the
most of each part of a column: no row is read again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from edgeline import artifacts
from edgeline.artifacts import Artifact, examples
from edgeline.artifacts.features import Feature
from edgeline.artifacts.ranges import MOST_VALUES, FeatureRange, Number

Bounds = tuple[Number, Number]
_FIRST, _LAST = 631_152_000, 4_102_444_800  # seconds since 1970 of the years 1990 and 2100
_UNITS = (1, 10**3, 10**6, 10**9)  # a second


def of(
    schema_path: str | Path, source: Artifact, split: str, raw_features: Sequence[Feature]
) -> dict[str, FeatureRange]:
    """The ranges of the raw features that can be told, by name.

    A limit is the schema's, where it has one, else that of the split's values. Text has the values
    of a domain that is to hold all of them. A feature without a value in the split has no range,
    nor has one with more than `MOST_VALUES` values a row, such as an image. Whole numbers that are
    points in time, as far as can be told, have the schema's limits alone.

    Args:
        schema_path: a `schema/v1` folder.
        source: `examples/v1`.
        split: what the training learns from.
    """
    seen = _seen(source, split)
    allowed = _allowed(schema_path)
    found: dict[str, FeatureRange] = {}
    for feature in raw_features:
        given = allowed.get(feature.name, FeatureRange())
        if math.prod(feature.shape) > MOST_VALUES:
            continue
        if feature.dtype == "string":
            if given.values is not None:
                found[feature.name] = given
        elif feature.name in seen or (given.least, given.most) != (None, None):
            least, most = seen.get(feature.name, (None, None))
            if feature.dtype == "int64" and _are_times(least, most):
                least = most = None  # each is later than all of the training's
            least = least if given.least is None else given.least
            most = most if given.most is None else given.most
            as_given = FeatureRange(_stored(least, feature.dtype), _stored(most, feature.dtype))
            if (as_given.least, as_given.most) != (None, None) and not _is_empty(as_given):
                found[feature.name] = as_given
    return found


def _seen(source: Artifact, split: str) -> dict[str, Bounds]:
    found: dict[str, Bounds] = {}
    for part in examples.parts(source, split):
        for name, least, most in _of_footer(pq.ParquetFile(part)):
            before = found.get(name, (least, most))
            found[name] = min(before[0], least), max(before[1], most)
    return found


def _of_footer(file: pq.ParquetFile) -> Iterator[tuple[str, Number, Number]]:
    """Columns of numbers or bools with the least and most of each row group; NaN does not count."""
    names = file.schema_arrow.names  # a column is plain or a list: one leaf each, in this order
    footer = file.metadata
    for group in range(footer.num_row_groups):
        for place, name in enumerate(names):
            statistics = footer.row_group(group).column(place).statistics
            if statistics is None or not statistics.has_min_max:
                continue
            least, most = statistics.min, statistics.max
            if isinstance(least, (int, float)) and not (math.isnan(least) or math.isnan(most)):
                yield name, least, most


def _allowed(schema_path: str | Path) -> dict[str, FeatureRange]:
    from tensorflow_metadata.proto.v0 import schema_pb2

    from edgeline.components.validate import schema as schemas

    found: dict[str, FeatureRange] = {}
    file = artifacts.read(schema_path, schemas.SCHEMA).path / schemas.FILE
    if not file.is_file():  # the folder may hold the features alone
        return found
    schema = schemas.read(str(file))
    for name, feature, _ in schemas.walk(schema):
        domain = schemas.domain(schema, feature)
        if isinstance(domain, schema_pb2.StringDomain):
            whole = not feature.HasField("distribution_constraints") or (
                feature.distribution_constraints.min_domain_mass >= 1
            )
            if whole and 0 < len(domain.value) <= MOST_VALUES:
                found[name] = FeatureRange(values=tuple(domain.value))
        elif isinstance(domain, (schema_pb2.IntDomain, schema_pb2.FloatDomain)):
            found[name] = FeatureRange(
                domain.min if domain.HasField("min") else None,
                domain.max if domain.HasField("max") else None,
            )
    return found


def _are_times(least: Number | None, most: Number | None) -> bool:
    """Whether all values are years' of today in a unit of time since 1970."""
    if least is None or most is None:
        return False
    return any(least / unit >= _FIRST and most / unit < _LAST for unit in _UNITS)


def _stored(value: Number | None, dtype: str) -> Number | None:
    """A limit as the model's input holds it; None for an infinite one."""
    if value is None or not math.isfinite(value):
        return None
    if dtype == "int64":
        return int(value)
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value)) + 0.0  # a footer's zero is negative
    return rounded if math.isfinite(rounded) else None


def _is_empty(given: FeatureRange) -> bool:
    return given.least is not None and given.most is not None and given.least > given.most
