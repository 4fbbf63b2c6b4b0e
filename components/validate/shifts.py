"""How far one split has moved from another: skew within the data, drift from a baseline.

The comparators of a schema that are taken are `infinity_norm` and `jensen_shannon_divergence`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tensorflow_metadata.proto.v0 import statistics_pb2

from edgeline.components.validate import comparisons
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import ERROR, WARNING, Anomaly, Measurement
from edgeline.reports.report import number

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

COMPARED_VALUES = 500  # below it chance alone moves a share by more than a few percent
_NAMES = {"L_INFTY": "L-infinity", "JENSEN_SHANNON_DIVERGENCE": "a Jensen-Shannon divergence of"}


def compare(
    comparison: str,
    control: statistics_pb2.DatasetFeatureStatistics,
    treatment: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
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


def _only_one_side(
    split: str, other: str, name: str, gone: bool, expected: schema_pb2.Feature | None
) -> Iterable[Anomaly]:
    """A column that only the baseline has, or that it lacks, unless the schema has named it."""
    if gone and expected is None:
        sentence = f"Column {name!r} of {other} is no longer in {split}."
        yield Anomaly(split, name, "COMPARATOR_TREATMENT_DATA_MISSING", ERROR, sentence)
    elif not gone and expected is not None:
        sentence = f"Column {name!r} in {split} is new: {other} does not have it."
        yield Anomaly(split, name, "COMPARATOR_CONTROL_DATA_MISSING", WARNING, sentence)


def _measures(
    comparison: str,
    expected: schema_pb2.Feature,
    old: statistics_pb2.FeatureNameStatistics,
    new: statistics_pb2.FeatureNameStatistics,
    threshold: float,
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


def _measure(
    measure: str,
    old: statistics_pb2.FeatureNameStatistics,
    new: statistics_pb2.FeatureNameStatistics,
) -> tuple[float | None, str]:
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


def _compatible(old: int, new: int) -> bool:
    numbers = {stats.INT, stats.FLOAT}
    return (old in numbers) == (new in numbers)
