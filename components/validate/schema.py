"""The schema of examples as a tensorflow_metadata `Schema`: inferred, read and written.

What is inferred from the statistics of one split:

- type: INT, FLOAT or BYTES; none for a column of Arrow's null type;
- presence: `min_fraction` 1 when nothing is missing, else `min_count` 1 (0 without any value);
- number of values: `shape` of n where every row has n values (1 for a plain column);
  `value_count` of n where some rows are missing, since a fixed shape promises that none is,
  and of at least 1 (0 with empty lists) where lists differ in length;
- domain of strings: the values, when there are at most 100 of them and the share of values
  seen just once, which estimates the share of those never seen (Good, 1953), is at most 1%;
- domain of bools; NaN and infinity disallowed for floats where there was none.

Ranges of numbers and distribution constraints are the user's to add to a frozen schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline import artifacts
from edgeline.artifacts.features import Feature
from edgeline.components.validate import statistics as stats
from edgeline.errors import EdgelineError

SCHEMA = "schema/v1"
FILE = "schema.pbtxt"
FEATURES_FILE = "features.json"
DOMAIN_VALUES = 100
UNSEEN_SHARE = 0.01

_TYPES = {stats.INT: schema_pb2.INT, stats.FLOAT: schema_pb2.FLOAT, stats.STRING: schema_pb2.BYTES}
_HELD = {
    schema_pb2.INT: {stats.INT},
    schema_pb2.FLOAT: {stats.FLOAT, stats.INT},
    schema_pb2.BYTES: {stats.STRING, statistics_pb2.FeatureNameStatistics.BYTES},
}
_DTYPES = {schema_pb2.INT: "int64", schema_pb2.FLOAT: "float32", schema_pb2.BYTES: "string"}


def infer(
    dataset: statistics_pb2.DatasetFeatureStatistics, bools: frozenset[str] = frozenset()
) -> schema_pb2.Schema:
    """A `Schema` that the given `DatasetFeatureStatistics` satisfy.

    Args:
        dataset: statistics of one split.
        bools: columns that hold bools, which statistics count as integers.
    """
    schema = schema_pb2.Schema()
    for feature in dataset.features:
        facts = stats.common(feature)
        made = schema.feature.add(name=stats.name_of(feature))
        if not stats.custom_number(feature, "untyped"):
            made.type = _TYPES[feature.type]
        if not facts.num_non_missing:
            made.presence.min_count = 0
            continue
        least, most = facts.min_num_values, facts.max_num_values
        made.presence.min_count = 1
        if not facts.num_missing:
            made.presence.min_fraction = 1.0
        if least == most > 0 and not facts.num_missing:
            made.shape.dim.add(size=most)
        elif least == most > 0:
            made.value_count.min = made.value_count.max = least
        else:
            made.value_count.min = min(least, 1)
        if made.name in bools:
            made.bool_domain.SetInParent()
        elif feature.type == stats.STRING:
            _infer_string_domain(schema, made, feature)
        elif feature.type == stats.FLOAT:
            found = stats.histogram(feature, "STANDARD")
            if not (found and found.num_nan):
                made.float_domain.disallow_nan = True
            if not stats.custom_number(feature, "num_inf"):
                made.float_domain.disallow_inf = True
    return schema


def set_shapes(schema: schema_pb2.Schema, known: Iterable[Feature]) -> None:
    """Give features the dimensions that their columns say (images: height, width, channels)."""
    shapes = {feature.name: feature.shape for feature in known}
    for feature in schema.feature:
        shape = shapes.get(feature.name, ())
        if len(shape) > 1 and feature.HasField("shape"):
            del feature.shape.dim[:]
            for size in shape:
                feature.shape.dim.add(size=size)


def read(uri: str) -> schema_pb2.Schema:
    """Read a `Schema`: a schema artifact folder, a text proto (.pbtxt, .txt) or a binary file.

    Raises:
        EdgelineError: there is no such file, it is damaged, or it names no feature or one twice.
    """
    path = Path(uri)
    file = artifacts.read(path, SCHEMA).path / FILE if path.is_dir() else path
    try:
        content = file.read_bytes()
        if file.suffix in (".pbtxt", ".txt", ".textproto"):
            schema = text_format.Parse(content.decode(), schema_pb2.Schema())
        else:
            schema = schema_pb2.Schema.FromString(content)
    except OSError as error:
        raise EdgelineError(
            f"The schema {uri} cannot be read ({error.strerror}): give a schema artifact "
            "folder, a .pbtxt file or a binary schema."
        ) from error
    except (text_format.ParseError, DecodeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise EdgelineError(
            f"{file} is not a readable tensorflow_metadata Schema ({reason}): mend the file or "
            "give the schema of an earlier run."
        ) from None
    names = [feature.name for feature in schema.feature]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        fault = f"names {twice[0]!r} twice" if twice else "names no feature"
        raise EdgelineError(f"The schema {file} {fault}: describe every column once.")
    return schema


def to_text(schema: schema_pb2.Schema) -> str:
    """The text proto of a schema, the same bytes for the same schema."""
    return str(text_format.MessageToString(schema, as_utf8=True))


def features(schema: schema_pb2.Schema) -> list[Feature]:
    """The raw features of a schema, in its order, those out of use and without a type left out.

    A feature with n values in every row that has it gets shape (n,) or the dimensions that
    the schema gives, one without a fixed number of values (-1,).
    """
    return [
        Feature(feature.name, _DTYPES[feature.type], _shape(feature))
        for feature in schema.feature
        if in_use(feature) and feature.type in _DTYPES
    ]


def read_features(path: str | Path) -> list[Feature]:
    """The raw features of a schema artifact, for later steps; needs no protos.

    Raises:
        EdgelineError: it is not a schema artifact, or it is damaged.
    """
    folder = artifacts.read(path, SCHEMA).path
    return [Feature.from_json(value) for value in json.loads((folder / FEATURES_FILE).read_text())]


def write(path: str | Path, schema: schema_pb2.Schema, inferred: bool) -> dict[str, Any]:
    """Write a schema artifact; returns its metadata."""
    raw = [feature.to_json() for feature in features(schema)]
    with artifacts.writing(path, SCHEMA) as draft:
        (draft.path / FILE).write_text(to_text(schema), encoding="utf-8")
        (draft.path / FEATURES_FILE).write_text(
            json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        draft.metadata.update(features=len(raw), inferred=inferred)
    return {"edgeline_schema": SCHEMA, **draft.metadata}


def in_use(feature: schema_pb2.Feature) -> bool:
    """Whether data must have the feature: not deprecated, planned or disabled."""
    unused = (
        schema_pb2.DEPRECATED,
        schema_pb2.PLANNED,
        schema_pb2.DISABLED,
        schema_pb2.DEBUG_ONLY,
    )
    return not feature.deprecated and feature.lifecycle_stage not in unused


def fits(wanted: int, held: int) -> bool:
    """Whether values of a statistics type may stand where the schema wants a type."""
    return wanted not in _HELD or held in _HELD[wanted]


def domain(
    schema: schema_pb2.Schema, feature: schema_pb2.Feature
) -> schema_pb2.StringDomain | schema_pb2.IntDomain | schema_pb2.FloatDomain | None:
    """The domain message of a feature, its own or the schema's that it names, or None."""
    kind = feature.WhichOneof("domain_info")
    if kind != "domain":
        return getattr(feature, kind) if kind else None
    shared = (*schema.string_domain, *schema.int_domain, *schema.float_domain)
    return next((entry for entry in shared if entry.name == feature.domain), None)


def _infer_string_domain(
    schema: schema_pb2.Schema, made: schema_pb2.Feature, feature: schema_pb2.Feature
) -> None:
    unique, exact = stats.distinct(feature)
    values = stats.ranked(feature) or []
    # values that are no text, or too long to be kept, have no place in a schema
    if not exact or unique != len(values) or not 0 < len(values) <= DOMAIN_VALUES:
        return
    once = sum(count == 1 for _, count in values)
    if once <= UNSEEN_SHARE * sum(count for _, count in values):
        made.domain = made.name
        schema.string_domain.add(name=made.name, value=sorted(value for value, _ in values))


def _shape(feature: schema_pb2.Feature) -> tuple[int, ...]:
    if feature.HasField("shape"):
        return tuple(dim.size for dim in feature.shape.dim) or (1,)
    if feature.HasField("value_count"):
        least, most = feature.value_count.min, feature.value_count.max
        return (most,) if least == most > 0 else (-1,)
    return (1,)
