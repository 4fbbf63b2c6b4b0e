"""The schema of examples as a tensorflow_metadata `Schema`: inferred, read and written.

What is inferred from the statistics of one split:

- type: INT, FLOAT or BYTES; none for a column of Arrow's null type;
- presence: `min_fraction` 1 when nothing is missing, else `min_count` 1 (0 without any value);
- number of values: `shape` of n where every row has n values (1 for a plain column);
  `value_count` of n where some rows are missing, since a fixed shape promises that none is,
  and of at least 1 (0 with empty lists) where lists differ in length;
- domain of strings: the values, when there are at most 100 of them and the share of values
  seen just once, which estimates the share of those never seen (Good, 1953), is at most 1%;
- domain of bools; NaN and infinity disallowed for floats where there was none;
- ranges of numbers, if they are asked for: what was seen, wider by its width on either side, but
  no further than zero where all was on one side of it. So a length of -1 is out of range, and a
  length that is somewhat greater than any before is not.

Distribution constraints are the user's to add to a frozen schema.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline import artifacts
from edgeline.artifacts.features import Feature
from edgeline.components.validate import statistics as stats
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.stores import copies, remote

SCHEMA = "schema/v1"
FILE = "schema.pbtxt"
FEATURES_FILE = "features.json"
DOMAIN_VALUES = 100
UNSEEN_SHARE = 0.01
LARGEST_FLOAT = 3.4e38  # a FloatDomain's limits have 32 bits
SEQUENCE = "##SEQUENCE##"  # what TFX calls the struct of a tf.SequenceExample's feature lists

_TYPES = {stats.INT: schema_pb2.INT, stats.FLOAT: schema_pb2.FLOAT, stats.STRING: schema_pb2.BYTES}
_HELD = {
    schema_pb2.INT: {stats.INT},
    schema_pb2.FLOAT: {stats.FLOAT, stats.INT},
    schema_pb2.BYTES: {stats.STRING, statistics_pb2.FeatureNameStatistics.BYTES},
    schema_pb2.STRUCT: {statistics_pb2.FeatureNameStatistics.STRUCT},
}
_UNUSED = {
    schema_pb2.PLANNED,
    schema_pb2.ALPHA,
    schema_pb2.DEPRECATED,
    schema_pb2.DEBUG_ONLY,
    schema_pb2.DISABLED,
}
_DTYPES = {schema_pb2.INT: "int64", schema_pb2.FLOAT: "float32", schema_pb2.BYTES: "string"}


def infer(
    dataset: statistics_pb2.DatasetFeatureStatistics,
    bools: frozenset[str] = frozenset(),
    ranges: bool = False,
    empty: frozenset[str] = frozenset(),
) -> schema_pb2.Schema:
    """A `Schema` that the given `DatasetFeatureStatistics` satisfy.

    Args:
        dataset: statistics of one split.
        bools: columns that hold bools, which statistics count as integers.
        ranges: whether numbers get a range.
        empty: columns that rows have without a value, too (see `features.EMPTY`).
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
        if least == most > 0 and not facts.num_missing and made.name not in empty:
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
        if ranges and made.name not in bools:
            _infer_range(made, feature)
    return schema


def _infer_range(made: schema_pb2.Feature, feature: statistics_pb2.FeatureNameStatistics) -> None:
    held = stats.bounds(feature)
    if held is None or not all(map(math.isfinite, held)):
        return
    low, high = held[0] - (held[1] - held[0]), held[1] + (held[1] - held[0])
    low = max(low, 0.0) if held[0] >= 0 else low
    high = min(high, 0.0) if held[1] <= 0 else high
    if made.type == schema_pb2.INT:
        made.int_domain.min = max(int(low), -(2**63))
        made.int_domain.max = min(int(high), 2**63 - 1)
    elif max(-low, high) < LARGEST_FLOAT:
        made.float_domain.min, made.float_domain.max = low, high


def set_shapes(schema: schema_pb2.Schema, known: Iterable[Feature]) -> None:
    """Give features the dimensions that their columns say (images: height, width, channels).

    Where the number of values differs it is the most that a row has.
    """
    shapes = {feature.name: feature.shape for feature in known}
    for feature in schema.feature:
        shape = shapes.get(feature.name, ())
        if len(shape) > 1 and feature.HasField("shape"):
            del feature.shape.dim[:]
            for size in shape:
                feature.shape.dim.add(size=size)
        elif len(shape) == 1 and not feature.HasField("shape"):
            feature.value_count.max = shape[0]


def read(uri: str) -> schema_pb2.Schema:
    """Read a `Schema`: a schema artifact folder, a text proto (.pbtxt, .txt) or a binary file.

    Args:
        uri: a path or any location that `edgeline.stores.storage` reads.

    Raises:
        EdgelineError: there is no such file, it is damaged, or it names no feature or one twice.
    """
    with copies.here(uri) as path:
        return _read(uri, path)


def _read(uri: str, path: Path) -> schema_pb2.Schema:
    file = artifacts.read(path, SCHEMA).path / FILE if path.is_dir() else path
    try:
        content = file.read_bytes()
        if file.suffix in (".pbtxt", ".txt", ".textproto"):
            schema = text_format.Parse(content.decode(), schema_pb2.Schema())
        else:
            _refuse_statistics(content, file)
            schema = schema_pb2.Schema.FromString(content)
    except OSError as error:
        raise EdgelineError(
            f"The schema {remote.public(uri)} cannot be read ({error.strerror}): give a schema "
            "artifact folder, a .pbtxt file or a binary schema."
        ) from error
    except (text_format.ParseError, DecodeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise EdgelineError(
            f"{file} is not a readable tensorflow_metadata Schema ({reason}): fix the file or "
            "give the schema of an earlier run."
        ) from None
    names = [path for path, _, _ in walk(schema)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        fault = f"names {twice[0]!r} twice" if twice else "names no feature"
        raise EdgelineError(f"The schema {file} {fault}: describe every column once.")
    return schema


def _refuse_statistics(content: bytes, file: Path) -> None:
    """Statistics, whose bytes a Schema takes for features of other names."""
    found = statistics_pb2.DatasetFeatureStatisticsList()
    try:
        found.ParseFromString(content)
    except DecodeError:
        return
    if any(each.WhichOneof("stats") for data in found.datasets for each in data.features):
        raise EdgelineError(
            f"{file} holds statistics (DatasetFeatureStatisticsList), not a Schema: give the "
            "schema of that run, or these as baseline_uri."
        )


def to_text(schema: schema_pb2.Schema) -> str:
    """The text proto of a schema, the same bytes for the same schema."""
    return str(text_format.MessageToString(schema, as_utf8=True))


def features(
    schema: schema_pb2.Schema, environment: str = "", absent: Collection[str] = ()
) -> list[Feature]:
    """The raw features of a schema, in its order.

    A feature with at most n values in every row that has it gets shape (n,) or the dimensions
    that the schema gives, one without a greatest number of values (-1,).

    Args:
        environment: features that it lacks are left out, as those out of use and without a type.
        absent: columns that the data lack; those that need not be there are left out.
    """
    return [
        Feature(path, _DTYPES[type_of(feature)], _shape(feature))
        for path, feature, used in walk(schema)
        if used
        and type_of(feature) in _DTYPES
        and in_environment(schema, feature, environment)
        and (path not in absent or required(feature))
    ]


def read_features(path: str | Path) -> list[Feature]:
    """The raw features of a schema artifact, for later steps; needs no protos.

    Raises:
        EdgelineError: it is not a schema artifact, or it is damaged.
    """
    folder = artifacts.read(path, SCHEMA).path
    return [Feature.from_json(value) for value in json.loads((folder / FEATURES_FILE).read_text())]


def write(
    path: str | Path,
    schema: schema_pb2.Schema,
    inferred: bool,
    environment: str = "",
    absent: Collection[str] = (),
) -> dict[str, Any]:
    """Write a schema artifact; returns its metadata. Its raw features are those of `features`."""
    raw = [feature.to_json() for feature in features(schema, environment, absent)]
    with artifacts.writing(path, SCHEMA) as draft:
        (draft.path / FILE).write_text(to_text(schema), encoding="utf-8")
        (draft.path / FEATURES_FILE).write_text(
            json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        draft.metadata.update(features=len(raw), inferred=inferred)
    return {"edgeline_schema": SCHEMA, **draft.metadata}


def walk(schema: schema_pb2.Schema) -> Iterator[tuple[str, schema_pb2.Feature, bool]]:
    """Every feature with its column's name, and whether it is in use.

    A feature in a struct is the column `struct.feature`, and out of use where the struct is; a
    tf.SequenceExample's feature lists are columns of their own names.
    """
    yield from _walk(schema.feature, "", True)


def _walk(
    features: Iterable[schema_pb2.Feature], prefix: str, used: bool
) -> Iterator[tuple[str, schema_pb2.Feature, bool]]:
    for feature in features:
        live = used and in_use(feature)
        if feature.name == SEQUENCE:
            yield from _walk(feature.struct_domain.feature, prefix, live)
            continue
        yield prefix + feature.name, feature, live
        yield from _walk(feature.struct_domain.feature, f"{prefix}{feature.name}.", live)


def sparse_features(
    schema: schema_pb2.Schema,
) -> Iterator[tuple[str, schema_pb2.SparseFeature]]:
    """The sparse features in use, those in structs included, each with its name as a column's."""
    holders = [("", schema.sparse_feature)]
    holders += [
        (f"{path}.", feature.struct_domain.sparse_feature)
        for path, feature, used in walk(schema)
        if used
    ]
    for prefix, sparse in holders:
        for each in sparse:
            if not each.deprecated and is_live(each.lifecycle_stage):
                yield prefix + each.name, each


def in_use(feature: schema_pb2.Feature) -> bool:
    """Whether the feature is looked at: not deprecated, planned, a prototype or disabled."""
    return not feature.deprecated and is_live(feature.lifecycle_stage)


def is_live(stage: int) -> bool:
    """Whether a `LifecycleStage` is one of those that are checked."""
    return stage not in _UNUSED


def required(feature: schema_pb2.Feature) -> bool:
    """Whether data must have a column for the feature: only its presence can ask for that."""
    return bool(feature.presence.min_count > 0 or feature.presence.min_fraction > 0)


def in_environment(
    schema: schema_pb2.Schema, feature: schema_pb2.Feature, environment: str
) -> bool:
    """Whether a feature is in an environment; each is where none is given."""
    return not environment or (
        environment in feature.in_environment
        or (
            environment not in feature.not_in_environment
            and environment in schema.default_environment
        )
    )


def needed_columns(schema: schema_pb2.Schema, environment: str = "") -> list[str]:
    """The columns without which data cannot be valid, those of a struct rather than the struct."""
    return [
        path
        for path, feature, used in walk(schema)
        if used
        and required(feature)
        and in_environment(schema, feature, environment)
        and feature.type != schema_pb2.STRUCT
        and feature.lifecycle_stage != schema_pb2.VALIDATION_DERIVED
    ]


def environments(schema: schema_pb2.Schema) -> list[str]:
    """The environments that a schema speaks of, sorted."""
    known = set(schema.default_environment)
    for _, feature, _ in walk(schema):
        known |= {*feature.in_environment, *feature.not_in_environment}
    return sorted(known)


def check_environment(schema: schema_pb2.Schema, environment: str) -> None:
    """Refuse an environment of which the schema says nothing.

    Raises:
        EdgelineError: it is not among the schema's.
    """
    known = environments(schema)
    if environment not in known:
        hint = did_you_mean(environment, known, "It has") if known else "It has none: leave it out."
        raise EdgelineError(
            f"environment is {environment!r}, which the schema does not know. {hint}"
        )


def type_of(feature: schema_pb2.Feature) -> int:
    """The `FeatureType` of a feature: BYTES, too, where it has but a domain of strings."""
    texts = feature.WhichOneof("domain_info") in ("domain", "string_domain")
    return int(schema_pb2.BYTES if texts and not feature.type else feature.type)


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
    # values that are not text, or too long to be kept, have no place in a schema
    if not exact or unique != len(values) or not 0 < len(values) <= DOMAIN_VALUES:
        return
    once = sum(count == 1 for _, count in values)
    if once <= UNSEEN_SHARE * sum(count for _, count in values):
        made.domain = made.name
        schema.string_domain.add(name=made.name, value=sorted(value for value, _ in values))


def _shape(feature: schema_pb2.Feature) -> tuple[int, ...]:
    if feature.HasField("shape"):
        return tuple(dim.size for dim in feature.shape.dim) or (1,)
    counts = [feature.value_count] if feature.HasField("value_count") else []
    counts = counts or list(feature.value_counts.value_count)
    if not counts:
        return (1,)
    return (counts[0].max or -1,) if len(counts) == 1 else (-1,)
