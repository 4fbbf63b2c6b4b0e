"""What is wrong with data: against a schema, and one split against another.

Each anomaly is one record with one sentence. Its kind is a standard
`tensorflow_metadata` `AnomalyInfo.Type`. An ERROR makes the data invalid, a WARNING
does not. What an inferred schema says about missing values, the values of strings and
NaN or infinity is a guess from one split, so going against it is a WARNING; a schema
that was given (frozen) is taken at its word. Integers are welcome where the schema says
FLOAT, as in the model's raw features.

Of a schema is checked: type, presence, shape and value count, domains of strings, bools
and numbers, `min_domain_mass`, the row counts of `dataset_constraints`, and the skew and
drift comparators `infinity_norm` and `jensen_shannon_divergence`. Environments and all
else are left to tools that know them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from edgeline.components.validate import comparisons
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.report import number

ERROR, WARNING = "ERROR", "WARNING"
COMPARED_VALUES = 500  # below it chance alone moves a share by more than a few percent
NAMED_VALUES = 5


@dataclass(frozen=True)
class Anomaly:
    """One thing that is wrong. `feature` is empty when it is the split as a whole."""

    split: str
    feature: str
    kind: str
    severity: str
    sentence: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Measurement:
    """A distance between two splits: `comparison` is skew or drift, `measure` L_INFTY or
    JENSEN_SHANNON_DIVERGENCE; not `judged` where there are too few values to tell."""

    comparison: str
    split: str
    feature: str
    measure: str
    value: float
    threshold: float
    judged: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_split(dataset: Any, schema: Any, inferred: bool) -> list[Anomaly]:
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


def compare(
    comparison: str,
    control: Any,
    treatment: Any,
    schema: Any,
    threshold: float,
) -> tuple[list[Anomaly], list[Measurement]]:
    """Measure how far each feature of a split has moved from another split or a baseline.

    Strings and integers of few values are measured by L-infinity, other numbers by the
    Jensen-Shannon divergence. A feature's `skew_comparator` or `drift_comparator` in the
    schema, if any, says instead what is measured and up to which threshold.

    Args:
        comparison: skew (both from the same data) or drift (the control is a baseline).
        control: `DatasetFeatureStatistics` of what is expected.
        treatment: `DatasetFeatureStatistics` of what is judged.
        schema: `Schema`; only its features are compared.
        threshold: the distance, in [0, 1], above which there is an anomaly.
    """
    anomalies: list[Anomaly] = []
    measurements: list[Measurement] = []
    split = treatment.name
    other = f"the baseline's {control.name}" if comparison == "drift" else control.name
    if 0 < min(control.num_examples, treatment.num_examples) < COMPARED_VALUES:
        few, rows = min((control.num_examples, other), (treatment.num_examples, split))[::-1]
        sentence = (
            f"No {comparison} from {other} to {split} is judged: {few} has {rows:,} rows, "
            f"and below {COMPARED_VALUES} chance alone moves the shares."
        )
        kind = "COMPARATOR_LOW_NUM_EXAMPLES"
        anomalies.append(Anomaly(split, "", kind, WARNING, sentence))
    before = {stats.name_of(feature): feature for feature in control.features}
    after = {stats.name_of(feature): feature for feature in treatment.features}
    known = {feature.name: feature for feature in schema.feature}
    for name in sorted(before.keys() | after.keys()):
        expected = known.get(name)
        if name not in before or name not in after or expected is None:
            if comparison == "drift":
                anomalies += _only_one_side(split, other, name, name in before, expected)
            continue
        if not schemas.in_use(expected):
            continue
        old, new = before[name], after[name]
        if not _compatible(old.type, new.type):
            if comparison == "drift" and _fits(expected.type, new.type):
                kind, names = "UNEXPECTED_DATA_TYPE", statistics_pb2.FeatureNameStatistics.Type
                sentence = (
                    f"Column {name!r} in {split} holds {names.Name(new.type)}, but in {other} "
                    f"{names.Name(old.type)}."
                )
                anomalies.append(Anomaly(split, name, kind, ERROR, sentence))
            continue
        counts = stats.common(old).num_non_missing, stats.common(new).num_non_missing
        if not min(counts):
            continue
        for measure, limit in _measures(comparison, expected, old, new, threshold):
            value, where = _measure(measure, old, new)
            if value is None:
                sentence = (
                    f"The schema's {comparison}_comparator of {name!r} asks for {measure}, which "
                    f"its values do not allow: use jensen_shannon_divergence for numbers."
                )
                kind = "INVALID_SCHEMA_SPECIFICATION"
                anomalies.append(Anomaly(split, name, kind, ERROR, sentence))
                continue
            judged = min(counts) >= COMPARED_VALUES
            measurements.append(Measurement(comparison, split, name, measure, value, limit, judged))
            if judged and value > limit:
                sentence = (
                    f"Column {name!r} in {split} differs from {other} by {_NAMES[measure]} "
                    f"{number(value)} (threshold {number(limit)}): {where}."
                )
                kind = f"COMPARATOR_{measure}_HIGH"
                anomalies.append(Anomaly(split, name, kind, ERROR, sentence))
    return anomalies, measurements


def to_proto(
    schema: Any, split: str, anomalies: Sequence[Anomaly], measurements: Sequence[Measurement]
) -> Any:
    """The anomalies and distances of one split as an `Anomalies` proto."""
    result = anomalies_pb2.Anomalies(baseline=schema)
    result.anomaly_name_format = anomalies_pb2.Anomalies.SERIALIZED_PATH
    for anomaly in anomalies:
        if anomaly.split != split:
            continue
        if not anomaly.feature:
            info = result.dataset_anomaly_info
            result.data_missing |= anomaly.kind == "DATASET_LOW_NUM_EXAMPLES"
        else:
            info = result.anomaly_info[anomaly.feature]
            info.path.step[:] = [anomaly.feature]
        severity = anomalies_pb2.AnomalyInfo.Severity.Value(anomaly.severity)
        info.severity = max(info.severity, severity)
        kind = anomalies_pb2.AnomalyInfo.Type.Value(anomaly.kind)
        short = anomaly.kind.replace("_", " ").capitalize()
        info.reason.add(type=kind, short_description=short, description=anomaly.sentence)
        info.short_description = short if len(info.reason) == 1 else "Multiple errors"
        info.description = " ".join(reason.description for reason in info.reason)
    drifts: dict[str, Any] = {}
    for measurement in measurements:
        if measurement.split != split:
            continue
        name = measurement.feature
        if name not in drifts:
            drifts[name] = result.drift_skew_info.add()
            drifts[name].path.step.append(name)
        drift = measurement.comparison == "drift"
        side = drifts[name].drift_measurements if drift else drifts[name].skew_measurements
        kinds = anomalies_pb2.DriftSkewInfo.Measurement.Type
        side.add(
            type=kinds.Value(measurement.measure),
            value=measurement.value,
            threshold=measurement.threshold,
        )
    return result


_GUESSED = {
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
    "ENUM_TYPE_INVALID_UTF8",
    "FEATURE_TYPE_LOW_FRACTION_PRESENT",
    "FEATURE_TYPE_LOW_NUMBER_PRESENT",
    "FEATURE_TYPE_NO_VALUES",
    "FLOAT_TYPE_HAS_NAN",
    "FLOAT_TYPE_HAS_INF",
}
_NAMES = {"L_INFTY": "L-infinity", "JENSEN_SHANNON_DIVERGENCE": "a Jensen-Shannon divergence of"}
_STATISTICS_TYPES = {
    schema_pb2.INT: {stats.INT},
    schema_pb2.FLOAT: {stats.FLOAT, stats.INT},
    schema_pb2.BYTES: {stats.STRING, statistics_pb2.FeatureNameStatistics.BYTES},
}

Finding = tuple[str, str, str]


def _check_feature(schema: Any, expected: Any, found: Any) -> Iterator[Finding]:
    """Kind, severity and the rest of the sentence of all that is wrong with one feature."""
    facts = stats.common(found)
    present, missing = facts.num_non_missing, facts.num_missing
    needed = expected.presence.min_fraction > 0 or expected.presence.min_count > 0
    if not present:
        yield "FEATURE_TYPE_NO_VALUES", ERROR if needed else WARNING, "has no value in any row."
        return
    if not _fits(expected.type, found.type):
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


def _check_lengths(expected: Any, facts: Any) -> Iterator[Finding]:
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


def _check_domain(domain: Any, expected: Any, found: Any) -> Iterator[Finding]:
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


def _check_strings(domain: Any, expected: Any, found: Any) -> Iterator[Finding]:
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


def _check_finite(expected: Any, found: Any) -> Iterator[Finding]:
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


def _only_value(found: Any) -> str | None:
    """The one value of a feature that has but one, as shown to people."""
    if found.WhichOneof("stats") == "string_stats":
        values = stats.ranked(found) or []
        return repr(values[0][0]) if len(values) == 1 == found.string_stats.unique else None
    held = stats.histogram(found, "STANDARD")
    numbers = found.num_stats
    if not (held and held.buckets) or held.num_nan or stats.custom_number(found, "num_inf"):
        return None
    return number(numbers.min) if numbers.min == numbers.max else None


def _only_one_side(
    split: str, other: str, name: str, gone: bool, expected: Any | None
) -> Iterable[Anomaly]:
    """A column that only the baseline has, or that it lacks, unless the schema has named it."""
    if gone and expected is None:
        sentence = f"Column {name!r} of {other} is no longer in {split}."
        yield Anomaly(split, name, "COMPARATOR_TREATMENT_DATA_MISSING", ERROR, sentence)
    elif not gone and expected is not None:
        sentence = f"Column {name!r} in {split} is new: {other} does not have it."
        yield Anomaly(split, name, "COMPARATOR_CONTROL_DATA_MISSING", WARNING, sentence)


def _measures(
    comparison: str, expected: Any, old: Any, new: Any, threshold: float
) -> list[tuple[str, float]]:
    """What to measure of a feature, with the thresholds: as the schema says, else by its kind."""
    comparator = getattr(expected, f"{comparison}_comparator")
    asked = []
    if comparator.HasField("infinity_norm"):
        asked.append(("L_INFTY", comparator.infinity_norm.threshold))
    if comparator.HasField("jensen_shannon_divergence"):
        limit = comparator.jensen_shannon_divergence.threshold
        asked.append(("JENSEN_SHANNON_DIVERGENCE", limit))
    if asked:
        return asked
    if comparisons.categorical(old) and comparisons.shares(old) and comparisons.shares(new):
        return [("L_INFTY", threshold)]
    if comparisons.binned(old, new):
        return [("JENSEN_SHANNON_DIVERGENCE", threshold)]
    return []


def _measure(measure: str, old: Any, new: Any) -> tuple[float | None, str]:
    """A distance, and where it lies in words; None where the values do not allow it."""
    p, q = comparisons.shares(old), comparisons.shares(new)
    if measure == "L_INFTY":
        if not p or not q:
            return None, ""
        value, name = comparisons.l_infinity(p, q)
        return value, f"{name!r} has {q.get(name, 0.0):.1%} instead of {p.get(name, 0.0):.1%}"
    distance = comparisons.divergence(old, new)
    if old.WhichOneof("stats") == new.WhichOneof("stats") == "num_stats":
        medians = number(new.num_stats.median), number(old.num_stats.median)
        return distance, f"the median is {medians[0]} instead of {medians[1]}"
    return distance, "the values are shared out otherwise"


def _values(count: int) -> str:
    return f"{count:,} value" if count == 1 else f"{count:,} values"


def _fits(wanted: int, held: int) -> bool:
    """Whether values of a statistics type may stand where the schema wants a type."""
    return wanted not in _STATISTICS_TYPES or held in _STATISTICS_TYPES[wanted]


def _compatible(old: int, new: int) -> bool:
    numbers = {stats.INT, stats.FLOAT}
    return (old in numbers) == (new in numbers)
