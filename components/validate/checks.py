"""What is wrong with one split, against a schema.

What an inferred schema says about missing values, the values of strings, ranges, and NaN or
infinity is a guess from one split, so going against it is a WARNING; a schema that was given
(frozen) is taken at its word. Integers are welcome where the schema says FLOAT, as in the model's
raw features.

Which fields of a schema are checked, and which are not and why, is the table in `constraints`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline.components.validate import combined, domains, specification
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import ERROR, WARNING, Anomaly, Breach, Unchecked
from edgeline.components.validate.domains import Result, plural
from edgeline.reports.report import number

_GUESSED = {
    "FEATURE_TYPE_LOW_FRACTION_PRESENT",
    "FEATURE_TYPE_LOW_NUMBER_PRESENT",
    "FEATURE_TYPE_NOT_PRESENT",
    "FLOAT_TYPE_HAS_NAN",
    "FLOAT_TYPE_HAS_INF",
}
_STRUCT = statistics_pb2.FeatureNameStatistics.STRUCT


def check_split(
    dataset: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
    inferred: bool,
    environment: str = "",
) -> list[Anomaly]:
    """Check the statistics of one split against a schema.

    Args:
        dataset: `DatasetFeatureStatistics`, named as the split.
        schema: `Schema`.
        inferred: whether the schema is a guess (see the head of this module).
        environment: of the schema, in which the data are; empty: every feature is asked for.
    """
    split = dataset.name
    found = [
        Anomaly(split, "", breach.kind, breach.severity, f"Split {split!r} {breach.sentence}")
        for breach in _check_rows(dataset.num_examples, schema.dataset_constraints)
    ]
    if not dataset.num_examples:
        return found
    for name, breach in _check_columns(dataset, schema, environment):
        if isinstance(breach, Breach):
            guess = inferred and (breach.guessed or breach.kind in _GUESSED)
            severity = WARNING if guess else breach.severity
            sentence = f"Column {name!r} in {split} {breach.sentence}"
            found.append(Anomaly(split, name, breach.kind, severity, sentence))
    return sorted(found, key=lambda anomaly: anomaly.feature)


def unchecked(
    dataset: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
    environment: str = "",
) -> list[Unchecked]:
    """What the statistics of one split do not tell; see `check_split` for the arguments.

    What no statistics would tell is in `constraints.unchecked`.
    """
    if not dataset.num_examples:
        return []
    return [
        replace(gap, feature=name)
        for name, gap in _check_columns(dataset, schema, environment)
        if isinstance(gap, Unchecked)
    ]


def _check_rows(rows: int, limits: schema_pb2.DatasetConstraints) -> Iterator[Breach]:
    least = max(limits.min_examples_count, 1)
    if rows < least:
        sentence = f"has {rows:,} rows, but at least {least:,} are needed."
        yield Breach("DATASET_LOW_NUM_EXAMPLES", sentence)
    if limits.HasField("max_examples_count") and rows > limits.max_examples_count:
        sentence = f"has {rows:,} rows, but at most {limits.max_examples_count:,} are allowed."
        yield Breach("DATASET_HIGH_NUM_EXAMPLES", sentence)


def _check_columns(
    dataset: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
    environment: str,
) -> Iterator[tuple[str, Breach | Unchecked]]:
    entries = {stats.name_of(each): each for each in dataset.features if not stats.is_empty(each)}
    unused: set[str] = set()
    dropped: set[str] = set()
    for path, feature, used in schemas.walk(schema):
        if not used:
            unused.add(path)
        elif not _below(path, dropped):
            found = list(_check_feature(schema, path, feature, entries, environment))
            yield from ((path, each) for each in found)
            if any(isinstance(e, Breach) and e.kind == "FEATURE_TYPE_NOT_PRESENT" for e in found):
                dropped.add(path)
    yield from combined.check(schema, entries)
    known = {path for path, _, _ in schemas.walk(schema)}
    known |= {each.name for each in (*schema.sparse_feature, *schema.weighted_feature)}
    known |= {path for path, _ in schemas.sparse_features(schema)}
    new = entries.keys() - known
    above = unused | new
    for name in sorted(new):
        if not _below(name, above):
            yield name, Breach("SCHEMA_NEW_COLUMN", "is not in the schema.")


def _below(name: str, structs: Collection[str]) -> bool:
    """Whether a column is a field of one of some structs, or of a struct in one."""
    steps = name.split(".")
    return any(".".join(steps[:depth]) in structs for depth in range(1, len(steps)))


def _check_feature(
    schema: schema_pb2.Schema,
    path: str,
    feature: schema_pb2.Feature,
    entries: dict[str, statistics_pb2.FeatureNameStatistics],
    environment: str,
) -> Result:
    """All that is wrong with one feature, and what could not be told."""
    faults, expected = specification.complete(schema, feature)
    inside = schemas.in_environment(schema, feature, environment)
    found = entries.get(path)
    if found is None or not stats.common(found).num_non_missing:
        untyped = found is not None and not feature.type  # inferred of a column without a value
        yield from (fault for fault in faults if not untyped)
        if inside:
            yield from _check_absent(path, expected, entries)
        return
    yield from faults
    if not inside:
        sentence = f"is in the data, but by the schema not in the environment {environment!r}."
        yield Breach("SCHEMA_NEW_COLUMN", sentence)
    if not expected.type:
        return
    yield from _check_lengths(expected, found)
    yield from _check_presence(expected, stats.common(found))
    yield from _check_source(expected, found)
    if stats.common(found).tot_num_values and not schemas.fits(expected.type, found.type):
        wanted = schema_pb2.FeatureType.Name(expected.type)
        held = statistics_pb2.FeatureNameStatistics.Type.Name(found.type)
        yield Breach("UNEXPECTED_DATA_TYPE", f"holds {held}, but the schema says {wanted}.")
    if found.WhichOneof("stats") == "num_stats":
        yield from _check_finite(expected, found)
    yield from domains.check(expected, found)
    yield from _check_unique(expected, found)


def _check_absent(
    path: str,
    expected: schema_pb2.Feature,
    entries: dict[str, statistics_pb2.FeatureNameStatistics],
) -> Result:
    """A feature without a column, or whose column has no value in any row."""
    needed = schemas.required(expected)
    if path in entries:
        kind = "FEATURE_TYPE_NOT_PRESENT" if needed else "FEATURE_TYPE_NO_VALUES"
        yield Breach(kind, "has no value in any row.", ERROR if needed else WARNING)
    elif expected.lifecycle_stage == schema_pb2.VALIDATION_DERIVED:
        yield Unchecked("", "validation_derived_source", "features are not derived here")
    elif expected.type == schema_pb2.STRUCT and any(_below(name, [path]) for name in entries):
        if needed or expected.WhichOneof("shape_type"):
            reason = "of a struct only the columns of its fields are there"
            yield Unchecked("", "presence" if needed else "shape_type", reason)
    elif needed:
        yield Breach("SCHEMA_MISSING_COLUMN", "is missing, but the schema has it.")
    else:
        sentence = "is missing; the schema has it, but asks for no row with it."
        yield Breach("SCHEMA_MISSING_COLUMN", sentence, WARNING)


def _check_presence(
    expected: schema_pb2.Feature, facts: statistics_pb2.CommonStatistics
) -> Iterator[Breach]:
    present, rows = facts.num_non_missing, facts.num_non_missing + facts.num_missing
    if present < expected.presence.min_fraction * rows:
        sentence = (
            f"is present in {present:,} of {rows:,} rows ({present / rows:.2%}), but in at least "
            f"{expected.presence.min_fraction:.2%} by the schema."
        )
        yield Breach("FEATURE_TYPE_LOW_FRACTION_PRESENT", sentence)
    if present < expected.presence.min_count:
        least = expected.presence.min_count
        sentence = f"is present in {present:,} rows, but in at least {least:,} by the schema."
        yield Breach("FEATURE_TYPE_LOW_NUMBER_PRESENT", sentence)


def _check_lengths(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Iterator[Breach]:
    levels = stats.levels(found)
    if expected.HasField("shape"):
        yield from _check_shape(expected, levels)
        return
    limits = list(expected.value_counts.value_count)
    if expected.HasField("value_count"):
        limits = [expected.value_count]
    if limits and len(limits) != len(levels):
        sentence = f"holds lists in {len(levels)} levels, but in {len(limits)} by the schema."
        yield Breach("VALUE_NESTEDNESS_MISMATCH", sentence)
        return
    for limit, (_, least, most) in zip(limits, levels, strict=False):
        held = _span(least, most)
        if limit.HasField("min") and least < limit.min:
            sentence = f"has {held} a row, but at least {limit.min} by the schema."
            yield Breach("FEATURE_TYPE_LOW_NUMBER_VALUES", sentence)
        if limit.HasField("max") and most > limit.max:
            sentence = f"has {held} a row, but at most {limit.max} by the schema."
            yield Breach("FEATURE_TYPE_HIGH_NUMBER_VALUES", sentence)


def _check_shape(
    expected: schema_pb2.Feature, levels: list[tuple[int, int, int]]
) -> Iterator[Breach]:
    size = math.prod(dim.size for dim in expected.shape.dim)
    fixed = all(least == most > 0 for _, least, most in levels)
    if not fixed or math.prod(most for _, _, most in levels) != size:
        held = " of ".join(_span(least, most) for _, least, most in levels)
        sentence = f"has {held} a row, but exactly {size} by the schema."
        yield Breach("INVALID_FEATURE_SHAPE", sentence)
    elif expected.presence.min_fraction == 1:
        return  # missing rows are told of the presence
    elif missing := sum(missing for missing, _, _ in levels):
        sentence = (
            f"has a shape in the schema, so every row must have it, but it is missing in "
            f"{missing:,}: give value_count in place of shape."
        )
        yield Breach("INVALID_FEATURE_SHAPE", sentence, guessed=True)


def _check_source(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Iterator[Breach]:
    """A feature that is derived from others for the sake of validation."""
    if found.HasField("validation_derived_source") and not expected.HasField(
        "validation_derived_source"
    ):
        sentence = "is derived from others, but the schema does not say so."
        yield Breach("DERIVED_FEATURE_INVALID_SOURCE", sentence)
    derived = expected.lifecycle_stage == schema_pb2.VALIDATION_DERIVED
    if expected.HasField("validation_derived_source") and not derived:
        sentence = "is derived by the schema, whose lifecycle_stage must be VALIDATION_DERIVED."
        yield Breach("DERIVED_FEATURE_BAD_LIFECYCLE", sentence)


def _check_finite(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Iterator[Breach]:
    held = stats.bounds(found)
    nan = max((histogram.num_nan for histogram in found.num_stats.histograms), default=0)
    infinite = int(stats.custom_number(found, "num_inf"))
    if not infinite and held is not None:
        infinite = sum(map(math.isinf, set(held)))
    limits = expected.float_domain
    for kind, what, count, forbidden in (
        ("FLOAT_TYPE_HAS_NAN", "NaN", nan, limits.disallow_nan),
        ("FLOAT_TYPE_HAS_INF", "infinity", infinite, limits.disallow_inf),
    ):
        if count:
            rest = ", which the schema disallows." if forbidden else "."
            sentence = f"holds {what}, in {plural(count)}{rest}"
            yield Breach(kind, sentence, ERROR if forbidden else WARNING)


def _check_unique(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Result:
    """The number of distinct values; without a constraint one that is just 1 is told."""
    held = stats.distinct_bounds(found)
    if not expected.HasField("unique_constraints"):
        if stats.common(found).num_non_missing > 1 and (only := _only_value(found)) is not None:
            yield Breach("FEATURE_TYPE_LOW_UNIQUE", f"has but one value, {only}.", WARNING)
        return
    if held is None:
        sentence = "has unique_constraints in the schema, which only text and whole numbers can."
        yield Breach("FEATURE_TYPE_NO_UNIQUE", sentence)
        return
    least, most = held
    limits = expected.unique_constraints
    text = f"{least:,} distinct values" if most is not None else f"at least {least:,}"
    if most is not None and most < limits.min:
        sentence = f"has {text}, but at least {limits.min:,} by the schema."
        yield Breach("FEATURE_TYPE_LOW_UNIQUE", sentence)
    elif limits.HasField("max") and least > limits.max:
        sentence = f"has {text}, but at most {limits.max:,} by the schema."
        yield Breach("FEATURE_TYPE_HIGH_UNIQUE", sentence)
    elif most is None and (least < limits.min or limits.HasField("max")):
        reason = f"above {stats.MOST_COUNTED:,} the distinct values are not counted"
        yield Unchecked("", "unique_constraints", reason)


def _only_value(found: statistics_pb2.FeatureNameStatistics) -> str | None:
    """The one value of a feature that has but one, as shown to people."""
    if found.WhichOneof("stats") == "string_stats":
        values = stats.ranked(found) or []
        return repr(values[0][0]) if len(values) == 1 == found.string_stats.unique else None
    held = stats.histogram(found, "STANDARD")
    numbers = found.num_stats
    if not (held and held.buckets) or held.num_nan or stats.custom_number(found, "num_inf"):
        return None
    return number(numbers.min) if numbers.min == numbers.max else None


def _span(least: int, most: int) -> str:
    return plural(most) if least == most else f"{least} to {plural(most)}"
