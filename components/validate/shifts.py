"""How far one split has moved from another: skew within the data, drift from a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from edgeline.components.validate import comparisons
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import (
    ERROR,
    WARNING,
    Anomaly,
    Measurement,
    Unchecked,
)
from edgeline.formats.told_apart import told_apart
from edgeline.reports.report import number

LEAST_ROWS = 500  # below it chance alone moves a share by more than a few percent
_NAMES = {
    "L_INFTY": "L-infinity",
    "JENSEN_SHANNON_DIVERGENCE": "a Jensen-Shannon divergence of",
    "NORMALIZED_ABSOLUTE_DIFFERENCE": "a normalized absolute difference of",
}
_FIELDS = {
    "infinity_norm": "L_INFTY",
    "jensen_shannon_divergence": "JENSEN_SHANNON_DIVERGENCE",
    "normalized_abs_difference": "NORMALIZED_ABSOLUTE_DIFFERENCE",
}
_QUANTILES = schema_pb2.HistogramSelection.QUANTILES


@dataclass(frozen=True)
class _Asked:
    """What to measure; `field` and `source` of the schema's comparator, if it is one of these."""

    measure: str
    limit: float
    field: str = ""
    source: str = ""


def compare(
    comparison: str,
    control: statistics_pb2.DatasetFeatureStatistics,
    treatment: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
    threshold: float,
    least_rows: int = LEAST_ROWS,
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
        least_rows: of either side; with fewer only the schema's comparators are judged.
    """
    anomalies: list[Anomaly] = []
    measurements: list[Measurement] = []
    split = treatment.name
    other = control.name
    if comparison == "drift":
        other = f"the baseline's {control.name}" if control.name else "the baseline"
        anomalies += _compare_rows(split, other, control, treatment, schema)
    before, after = stats.columns(control), stats.columns(treatment)
    known = {path: feature for path, feature, used in schemas.walk(schema) if used}
    unknown = {path for path, _, used in schemas.walk(schema) if not used}
    for name in sorted((before.keys() | after.keys()) - unknown):
        expected = known.get(name)
        if name not in before or name not in after:
            anomalies += _only_one_side(comparison, split, other, name, name in before, expected)
        if name not in before or name not in after or expected is None:
            continue
        old, new = before[name], after[name]
        if not _compatible(old.type, new.type):
            if comparison == "drift" and schemas.fits(expected.type, new.type):
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
        for asked in _asked(comparison, expected) or _by_kind(old, new, threshold):
            value, where = _measure(asked, old, new)
            if value is None:
                continue  # told by `unchecked`
            judged = bool(asked.field) or min(counts) >= least_rows
            measured = comparison, split, name, asked.measure, value, asked.limit, judged
            measurements.append(Measurement(*measured))
            if judged and value > asked.limit:
                found, limit = told_apart(value, asked.limit)
                sentence = (
                    f"Column {name!r} in {split} differs from {other} by {_NAMES[asked.measure]} "
                    f"{found} (threshold {limit}): {where}."
                )
                kind = f"COMPARATOR_{asked.measure}_HIGH"
                anomalies.append(Anomaly(split, name, kind, ERROR, sentence))
    rows, few = min((control.num_examples, other), (treatment.num_examples, split))
    if rows < least_rows and not all(measured.judged for measured in measurements):
        sentence = (
            f"No {comparison} from {other} to {split} is judged where the schema does not ask: "
            f"{few} has {rows:,} rows, and below {least_rows:,} chance alone moves the shares."
        )
        kind = "COMPARATOR_LOW_NUM_EXAMPLES"
        anomalies.insert(0, Anomaly(split, "", kind, WARNING, sentence))
    return anomalies, measurements


def unchecked(
    comparison: str,
    schema: schema_pb2.Schema,
    pairs: Sequence[
        tuple[statistics_pb2.DatasetFeatureStatistics, statistics_pb2.DatasetFeatureStatistics]
    ],
) -> list[Unchecked]:
    """The schema's comparators that could not be checked.

    Args:
        comparison: skew or drift.
        pairs: control and treatment of all that was compared.
    """
    drift = comparison == "drift"
    nothing = "no baseline_uri is given" if drift else "there is no other split to compare with"
    sides = [(stats.columns(control), stats.columns(treatment)) for control, treatment in pairs]
    found = []
    if drift and not pairs and _fractions(schema):
        name = "dataset_constraints.num_examples_drift_comparator"
        found.append(Unchecked("", name, nothing))
    for path, feature, used in schemas.walk(schema):
        for asked in _asked(comparison, feature) if used else ():
            reason = "" if pairs else nothing
            for old, new in sides:
                reason = reason or _why_not(asked, old.get(path), new.get(path))
            if reason:
                name = f"{comparison}_comparator.{asked.field}"
                found.append(Unchecked(path, name, reason))
    return found


def _why_not(
    asked: _Asked,
    old: statistics_pb2.FeatureNameStatistics | None,
    new: statistics_pb2.FeatureNameStatistics | None,
) -> str:
    """Why a comparator could not be checked; "" where it was, or where an anomaly says why."""
    if old is None or new is None:
        return ""
    if not stats.common(old).num_non_missing or not stats.common(new).num_non_missing:
        return "a side of the comparison has no value"
    if not _compatible(old.type, new.type):
        return "the sides of the comparison have values of different types"
    if _measure(asked, old, new)[0] is not None:
        return ""
    hint = ": use jensen_shannon_divergence" if asked.field != "jensen_shannon_divergence" else ""
    return f"its values were not counted in that way{hint}"


def _fractions(schema: schema_pb2.Schema) -> schema_pb2.NumericValueComparator | None:
    limits = schema.dataset_constraints.num_examples_drift_comparator
    either = limits.HasField("min_fraction_threshold") or limits.HasField("max_fraction_threshold")
    return limits if either else None


def _compare_rows(
    split: str,
    other: str,
    control: statistics_pb2.DatasetFeatureStatistics,
    treatment: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
) -> Iterator[Anomaly]:
    limits, rows, earlier = _fractions(schema), treatment.num_examples, control.num_examples
    if limits is None or not rows:
        return
    text = f"Split {split!r} has {rows:,} rows, {other} {earlier:,}"
    least, most = limits.min_fraction_threshold, limits.max_fraction_threshold
    if limits.HasField("min_fraction_threshold") and rows < least * earlier:
        sentence = f"{text}: less than {least:g} times as many, the least by the schema."
        yield Anomaly(split, "", "COMPARATOR_LOW_NUM_EXAMPLES", ERROR, sentence)
    if limits.HasField("max_fraction_threshold") and rows > most * earlier:
        sentence = f"{text}: more than {most:g} times as many, the most by the schema."
        yield Anomaly(split, "", "COMPARATOR_HIGH_NUM_EXAMPLES", ERROR, sentence)


def _only_one_side(
    comparison: str,
    split: str,
    other: str,
    name: str,
    gone: bool,
    expected: schema_pb2.Feature | None,
) -> Iterable[Anomaly]:
    """A column that only the baseline has, or that it lacks, unless the schema has named it."""
    asked = expected is not None and bool(_asked(comparison, expected))
    if gone and expected is None and comparison == "drift":
        sentence = f"Column {name!r} of {other} is no longer in {split}."
        yield Anomaly(split, name, "COMPARATOR_TREATMENT_DATA_MISSING", ERROR, sentence)
    elif not gone and expected is not None and (asked or comparison == "drift"):
        sentence = f"Column {name!r} in {split} is new: {other} does not have it."
        severity = ERROR if asked else WARNING
        yield Anomaly(split, name, "COMPARATOR_CONTROL_DATA_MISSING", severity, sentence)


def _asked(comparison: str, expected: schema_pb2.Feature) -> list[_Asked]:
    """What the schema asks to be measured of a feature."""
    comparator = getattr(expected, f"{comparison}_comparator")
    found = []
    for field, measure in _FIELDS.items():
        limit = getattr(comparator, field)
        if limit.HasField("threshold"):
            quantiles = field == "jensen_shannon_divergence" and limit.source.type == _QUANTILES
            source = "QUANTILES" if quantiles else "STANDARD"
            found.append(_Asked(measure, limit.threshold, field, source))
    return found


def _by_kind(
    old: statistics_pb2.FeatureNameStatistics,
    new: statistics_pb2.FeatureNameStatistics,
    threshold: float,
) -> list[_Asked]:
    """What is measured of a feature of which the schema says nothing."""
    if comparisons.categorical(old) and comparisons.shares(old) and comparisons.shares(new):
        return [_Asked("L_INFTY", threshold)]
    if comparisons.binned(old, new):
        return [_Asked("JENSEN_SHANNON_DIVERGENCE", threshold)]
    return []


def _measure(
    asked: _Asked,
    old: statistics_pb2.FeatureNameStatistics,
    new: statistics_pb2.FeatureNameStatistics,
) -> tuple[float | None, str]:
    """A distance, and where it lies in words; None where the values do not allow it."""
    if asked.measure == "NORMALIZED_ABSOLUTE_DIFFERENCE":
        difference = comparisons.normalized_difference(old, new)
        if difference is None:
            return None, ""
        x, y = (dict(stats.listed(side).counts).get(difference[1], 0) for side in (old, new))
        return difference[0], f"{difference[1]!r} occurs {int(y):,} times instead of {int(x):,}"
    if asked.measure == "L_INFTY":
        p, q = comparisons.shares(old), comparisons.shares(new)
        if not p or not q:
            return None, ""
        value, name = comparisons.l_infinity(p, q)
        return value, f"{name!r} has {q.get(name, 0.0):.1%} instead of {p.get(name, 0.0):.1%}"
    if asked.source:
        distance = comparisons.divergence_of(old, new, asked.source)
    else:
        distance = comparisons.divergence(old, new)
    if old.WhichOneof("stats") == new.WhichOneof("stats") == "num_stats":
        medians = number(new.num_stats.median), number(old.num_stats.median)
        return distance, f"the median is {medians[0]} instead of {medians[1]}"
    return distance, "the values are shared out otherwise"


def _compatible(old: int, new: int) -> bool:
    numbers = {stats.INT, stats.FLOAT}
    return (old in numbers) == (new in numbers)
