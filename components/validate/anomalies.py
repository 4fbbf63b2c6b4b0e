"""What is wrong with data, one record each, what was not checked, and how far splits are apart.

An anomaly's kind is a standard `tensorflow_metadata` `AnomalyInfo.Type`. An ERROR makes the data
invalid, a WARNING does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorflow_metadata.proto.v0 import anomalies_pb2

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2

ERROR, WARNING = "ERROR", "WARNING"
NAMED = 3


@dataclass(frozen=True)
class Anomaly:
    """One thing that is wrong. `feature` is empty when it is the split as a whole."""

    split: str
    feature: str
    kind: str
    severity: str
    sentence: str


@dataclass(frozen=True)
class Breach:
    """What is wrong with one feature, whichever split it is in.

    Attributes:
        sentence: without its subject, which is the column.
        guessed: whether it goes against what an inferred schema could only guess.
    """

    kind: str
    sentence: str
    severity: str = ERROR
    guessed: bool = False


@dataclass(frozen=True)
class Unchecked:
    """A constraint of a schema that the data were not, or only partly, checked for.

    Attributes:
        feature: empty when it is of the schema as a whole.
        constraint: the field of the `Schema` or `Feature`, for example `value_counts`.
        reason: why, in words.
    """

    feature: str
    constraint: str
    reason: str

    @property
    def name(self) -> str:
        """The constraint and its feature."""
        return f"{self.constraint} of {self.feature!r}" if self.feature else self.constraint


@dataclass(frozen=True)
class Measurement:
    """A distance between two splits: `comparison` is skew or drift, `measure` L_INFTY,
    JENSEN_SHANNON_DIVERGENCE or NORMALIZED_ABSOLUTE_DIFFERENCE; not `judged` where there are too
    few values to tell."""

    comparison: str
    split: str
    feature: str
    measure: str
    value: float
    threshold: float
    judged: bool


@dataclass(frozen=True)
class ValidationFindings:
    """All that a validation found."""

    anomalies: tuple[Anomaly, ...]
    unchecked: tuple[Unchecked, ...]
    measurements: tuple[Measurement, ...]

    @property
    def errors(self) -> int:
        return sum(anomaly.severity == ERROR for anomaly in self.anomalies)

    @property
    def warnings(self) -> int:
        return len(self.anomalies) - self.errors

    def notes(self) -> list[str]:
        """What a person who looks at the run should know at once."""
        told = []
        if self.errors:
            told.append(f"{self.errors} errors" if self.errors > 1 else "1 error")
        if self.warnings:
            told.append(f"{self.warnings} warnings" if self.warnings > 1 else "1 warning")
        if self.unchecked:
            named = ", ".join(gap.name for gap in self.unchecked[:NAMED])
            more = len(self.unchecked) - NAMED
            told.append(f"not checked: {named}" + (f" and {more} more" if more > 0 else ""))
        return told


def to_proto(
    schema: schema_pb2.Schema,
    split: str,
    anomalies: Sequence[Anomaly],
    measurements: Sequence[Measurement],
) -> anomalies_pb2.Anomalies:
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
