"""What is wrong with one split, against a schema.

What an inferred schema says about missing values, the values of strings and NaN or infinity is a
guess from one split, so going against it is a WARNING; a schema that was given (frozen) is taken
at its word. Integers are welcome where the schema says FLOAT, as in the model's raw features.

Of a schema is checked: type, presence, shape and value count, domains of strings, bools and
numbers, `min_domain_mass` and the row counts of `dataset_constraints`. Environments and all else
are left to tools that know them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import ERROR, WARNING, Anomaly
from edgeline.reports.report import number

NAMED_VALUES = 5
CheckResult = tuple[str, str, str]
_GUESSED = {
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
    "ENUM_TYPE_INVALID_UTF8",
    "FEATURE_TYPE_LOW_FRACTION_PRESENT",
    "FEATURE_TYPE_LOW_NUMBER_PRESENT",
    "FEATURE_TYPE_NO_VALUES",
    "FLOAT_TYPE_HAS_NAN",
    "FLOAT_TYPE_HAS_INF",
}


def check_split(
    dataset: statistics_pb2.DatasetFeatureStatistics, schema: schema_pb2.Schema, inferred: bool
) -> list[Anomaly]:
    """Check the statistics of one split against a schema.

    Args:
        dataset: `DatasetFeatureStatistics`, named as the split.
        schema: `Schema`.
        inferred: whether the schema is a guess (see the head of this module).
    """
    split, rows = dataset.name, dataset.num_examples
    limits = schema.dataset_constraints
    least = max(limits.min_examples_count, 1)
    found = []
    if rows < least:
        sentence = f"Split {split!r} has {rows:,} rows, but at least {least:,} are needed."
        found.append(Anomaly(split, "", "DATASET_LOW_NUM_EXAMPLES", ERROR, sentence))
    if limits.HasField("max_examples_count") and rows > limits.max_examples_count:
        most = limits.max_examples_count
        sentence = f"Split {split!r} has {rows:,} rows, but at most {most:,} are allowed."
        found.append(Anomaly(split, "", "DATASET_HIGH_NUM_EXAMPLES", ERROR, sentence))
    if not rows:
        return found
    columns = {stats.name_of(feature): feature for feature in dataset.features}
    for expected in schema.feature:
        if not schemas.in_use(expected):
            continue
        if expected.name not in columns:
            sentence = f"Column {expected.name!r} of the schema is missing in {split}."
            kind = "SCHEMA_MISSING_COLUMN"
            found.append(Anomaly(split, expected.name, kind, ERROR, sentence))
            continue
        for kind, severity, sentence in _check_feature(schema, expected, columns[expected.name]):
            if inferred and kind in _GUESSED:
                severity = WARNING
            text = f"Column {expected.name!r} in {split} {sentence}"
            found.append(Anomaly(split, expected.name, kind, severity, text))
    known = {feature.name for feature in schema.feature}
    for name in columns.keys() - known:
        sentence = f"Column {name!r} in {split} is not in the schema."
        found.append(Anomaly(split, name, "SCHEMA_NEW_COLUMN", ERROR, sentence))
    return sorted(found, key=lambda anomaly: anomaly.feature)


def _check_feature(
    schema: schema_pb2.Schema,
    expected: schema_pb2.Feature,
    found: statistics_pb2.FeatureNameStatistics,
) -> Iterator[CheckResult]:
    """Kind, severity and the rest of the sentence of all that is wrong with one feature."""
    facts = stats.common(found)
    present, missing = facts.num_non_missing, facts.num_missing
    needed = expected.presence.min_fraction > 0 or expected.presence.min_count > 0
    if not present:
        yield "FEATURE_TYPE_NO_VALUES", ERROR if needed else WARNING, "has no value in any row."
        return
    if not schemas.fits(expected.type, found.type):
        wanted = schema_pb2.FeatureType.Name(expected.type)
        held = statistics_pb2.FeatureNameStatistics.Type.Name(found.type)
        sentence = f"holds {held}, but the schema says {wanted}."
        yield "UNEXPECTED_DATA_TYPE", ERROR, sentence
        return
    rows = present + missing
    if present < expected.presence.min_fraction * rows:
        sentence = (
            f"is present in {present:,} of {rows:,} rows ({present / rows:.2%}), but in at least "
            f"{expected.presence.min_fraction:.2%} by the schema."
        )
        yield "FEATURE_TYPE_LOW_FRACTION_PRESENT", ERROR, sentence
    elif present < expected.presence.min_count:
        least = expected.presence.min_count
        sentence = f"is present in {present:,} rows, but in at least {least:,} by the schema."
        yield "FEATURE_TYPE_LOW_NUMBER_PRESENT", ERROR, sentence
    yield from _check_lengths(expected, facts)
    yield from _check_domain(schemas.domain(schema, expected), expected, found)
    if found.WhichOneof("stats") == "num_stats":
        yield from _check_finite(expected, found)
    if rows > 1 and (only := _only_value(found)) is not None:
        yield "FEATURE_TYPE_LOW_UNIQUE", WARNING, f"has but one value, {only}."


def _check_lengths(
    expected: schema_pb2.Feature, facts: statistics_pb2.CommonStatistics
) -> Iterator[CheckResult]:
    least, most = facts.min_num_values, facts.max_num_values
    held = _values(most) if least == most else f"{least} to {_values(most)}"
    if expected.HasField("shape"):
        size = math.prod(dim.size for dim in expected.shape.dim)
        if not least == most == size:
            sentence = f"has {held} a row, but exactly {size} by the schema."
            yield "INVALID_FEATURE_SHAPE", ERROR, sentence
    elif expected.HasField("value_count"):
        limits = expected.value_count
        if least < limits.min:
            sentence = f"has {held} a row, but at least {limits.min} by the schema."
            yield "FEATURE_TYPE_LOW_NUMBER_VALUES", ERROR, sentence
        if limits.HasField("max") and most > limits.max:
            sentence = f"has {held} a row, but at most {limits.max} by the schema."
            yield "FEATURE_TYPE_HIGH_NUMBER_VALUES", ERROR, sentence


def _check_domain(
    domain: schema_pb2.StringDomain | schema_pb2.IntDomain | schema_pb2.FloatDomain,
    expected: schema_pb2.Feature,
    found: statistics_pb2.FeatureNameStatistics,
) -> Iterator[CheckResult]:
    if isinstance(domain, schema_pb2.StringDomain):
        if found.WhichOneof("stats") == "string_stats":
            yield from _check_strings(domain, expected, found)
        return
    if found.WhichOneof("stats") != "num_stats":
        return
    numbers = found.num_stats
    held = stats.histogram(found, "STANDARD")
    if not (held and held.buckets):
        return
    if isinstance(domain, schema_pb2.BoolDomain):
        low: float | None = 0
        high: float | None = 1
        word = "BOOL"
    elif isinstance(domain, (schema_pb2.IntDomain, schema_pb2.FloatDomain)):
        low = domain.min if domain.HasField("min") else None
        high = domain.max if domain.HasField("max") else None
        word = "INT" if isinstance(domain, schema_pb2.IntDomain) else "FLOAT"
    else:
        return
    unit = "FLOAT" if word == "FLOAT" else "INT"
    if low is not None and numbers.min < low:
        sentence = f"has values down to {number(numbers.min)}, below the schema's {number(low)}."
        yield f"{word}_TYPE_SMALL_{unit}", ERROR, sentence
    if high is not None and numbers.max > high:
        sentence = f"has values up to {number(numbers.max)}, above the schema's {number(high)}."
        yield f"{word}_TYPE_BIG_{unit}", ERROR, sentence


def _check_strings(
    domain: schema_pb2.StringDomain | schema_pb2.IntDomain | schema_pb2.FloatDomain,
    expected: schema_pb2.Feature,
    found: statistics_pb2.FeatureNameStatistics,
) -> Iterator[CheckResult]:
    strings, values = found.string_stats, stats.ranked(found) or []
    allowed, total = set(domain.value), strings.common_stats.tot_num_values
    outside = [(value, count) for value, count in values if value not in allowed]
    unique, exact = stats.distinct(found)
    complete = exact and unique is not None and unique <= stats.RANKED_VALUES
    count = sum(count for _, count in outside)
    if complete:  # values too long to be listed are in no domain
        count += total - sum(count for _, count in values) - strings.invalid_utf8_count
    if strings.invalid_utf8_count:
        sentence = f"has text that is not UTF-8, in {_values(strings.invalid_utf8_count)}."
        yield "ENUM_TYPE_INVALID_UTF8", ERROR, sentence
    mass = expected.distribution_constraints.min_domain_mass
    if count and total - count < mass * total:
        named = ", ".join(f"{value!r} ({number(int(n))})" for value, n in outside[:NAMED_VALUES])
        more = len(outside) - NAMED_VALUES
        rest = f" and {more:,} more" if more > 0 else ""
        least = "" if complete else "at least "
        listed = f": {named}{rest}" if outside else ""
        sentence = f"has {least}{_values(int(count))} outside its domain{listed}."
        yield "ENUM_TYPE_UNEXPECTED_STRING_VALUES", ERROR, sentence


def _check_finite(
    expected: schema_pb2.Feature, found: statistics_pb2.FeatureNameStatistics
) -> Iterator[CheckResult]:
    held = stats.histogram(found, "STANDARD")
    nan = int(held.num_nan) if held else 0
    infinite = int(stats.custom_number(found, "num_inf"))
    limits = expected.float_domain if expected.HasField("float_domain") else None
    if nan:
        forbidden = limits is not None and limits.disallow_nan
        sentence = f"holds NaN, in {_values(nan)}" + (
            ", which the schema disallows." if forbidden else "."
        )
        yield "FLOAT_TYPE_HAS_NAN", ERROR if forbidden else WARNING, sentence
    if infinite:
        forbidden = limits is not None and limits.disallow_inf
        sentence = f"holds infinity, in {_values(infinite)}" + (
            ", which the schema disallows." if forbidden else "."
        )
        yield "FLOAT_TYPE_HAS_INF", ERROR if forbidden else WARNING, sentence


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


def _values(count: int) -> str:
    return f"{count:,} value" if count == 1 else f"{count:,} values"
