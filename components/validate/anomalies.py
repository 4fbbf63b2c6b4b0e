"""What is wrong with data, one record each, and how far splits are from one another.

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


@dataclass(frozen=True)
class Anomaly:
    """One thing that is wrong. `feature` is empty when it is the split as a whole."""

    split: str
    feature: str
    kind: str
    severity: str
    sentence: str


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
