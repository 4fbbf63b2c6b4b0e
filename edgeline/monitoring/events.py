"""The events that a server and the component `monitor` send, and what the `data` of each holds.

docs/reference lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.artifacts.ranges import FeatureRange

DRIFT, RESOLVED = "io.edgeline.drift.detected", "io.edgeline.drift.resolved"
OUT_OF_RANGE = "io.edgeline.range.detected"
ESTIMATED = "io.edgeline.decay.estimated"
MEASURED = "io.edgeline.decay.measured"
CONCEPT = "io.edgeline.decay.concept"
_DRAWN = 20  # columns with all that is known: no receiver has to take more than 64 KiB
_LONG = ("histogram", "unseen_values")
# the types of KServe's inference logger
REQUEST = "org.kubeflow.serving.inference.request"
RESPONSE = "org.kubeflow.serving.inference.response"


@dataclass(frozen=True)
class EventType:
    """A type of CloudEvent.

    Attributes:
        type: its `type`.
        option: those of `edgeline serve`, which name a receiver.
        when: at what it is sent.
        data: the fields of its `data`, each with its meaning.
    """

    type: str
    option: str
    when: str
    data: Mapping[str, str]


_VERSION = {"model": "the model's name", "version": "its version, a number"}
_DRIFT = {
    **_VERSION,
    "rows": "the rows that were compared",
    "since": "when the window of these rows began, in seconds since 1970",
    "drifting": "the names of the columns and statistics that drift",
    "columns": "for each of them its statistics, live and in the reference; of the first 20 the "
    "histogram and unseen values, too",
}
_DECAY = {
    **_VERSION,
    "decayed": "the names of the metrics that are worse than usual; empty where none is any more",
    "rows": "the rows of the window",
    "since": "when the window began, in seconds since 1970",
    "metrics": "each metric's `value`, `low` and `high` at 95 %",
    "usual": "what the version reached on held-out rows, by metric",
}
_PAYLOAD = {
    "id": "the request's",
    "model_name": "the model's name",
    "model_version": "its version, as text",
}
_TENSORS = "name, shape, datatype and data of each, as in the Open Inference Protocol"
EVENTS = (
    EventType(
        DRIFT,
        "--webhook, --mqtt",
        "other columns drift than at the last look, and hourly while some do",
        _DRIFT,
    ),
    EventType(RESOLVED, "--webhook, --mqtt", "none drifts any more", _DRIFT),
    EventType(
        ESTIMATED,
        "--webhook, --mqtt",
        "other metrics are estimated to be worse by `--decay-drop` than at the last look, and "
        "hourly while some are",
        _DECAY,
    ),
    EventType(
        MEASURED,
        "--webhook, --mqtt",
        "other metrics of labelled rows are worse by `--decay-drop` than at the last look, and "
        "hourly while some are",
        {**_DECAY, "slices": "the same of each slice, as in `GET /decay`"},
    ),
    EventType(
        CONCEPT,
        "--webhook, --mqtt",
        "labels begin to come about otherwise, hourly while they do, and when they do not any more",
        {
            **_VERSION,
            "drifting": "whether they do",
            "expected_accuracy": "of the labelled rows, by their calibrated scores",
            "measured_accuracy": "of the same rows",
            "margin": "by how much the two may differ",
            "labelled_rows": "the rows that the test has looked at",
            "alarm_at_row": "at which of them it gave the alarm",
            "evidence": "the decimal logarithm of the test's sum",
            "evidence_needed": "from where it is an alarm",
        },
    ),
    EventType(
        OUT_OF_RANGE,
        "--webhook, --mqtt",
        "a feature is out of range for the first time in `--drift-window` seconds",
        {
            **_VERSION,
            "feature": "the feature's name",
            "value": "the first value outside",
            "rows": "how many rows of the request were outside, or of the window of `monitor`",
            "range": "`least` and `most`, where there are any, and `text`, the same in words",
            "refused": "whether such rows are refused",
        },
    ),
    EventType(
        REQUEST,
        "--payloads http(s)://",
        "a request is in the sample of `--payload-rate`",
        {**_PAYLOAD, "inputs": _TENSORS},
    ),
    EventType(
        RESPONSE,
        "--payloads http(s)://",
        "with the event of its request",
        {**_PAYLOAD, "outputs": _TENSORS},
    ),
)


def drift_event(model: str, version: int, report: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The type and `data` of an event of drift: a report has `rows`, `since`, `drifting`, and by
    `inputs` and `outputs` what `drift.judge` found of each column."""
    drifting = report["drifting"]
    found = {**report["inputs"], **report["outputs"]}
    columns = {name: each for name, each in found.items() if name in drifting}
    for name in list(columns)[_DRAWN:]:
        columns[name] = {key: x for key, x in columns[name].items() if key not in _LONG}
    data = {
        "model": model,
        "version": version,
        "rows": report["rows"],
        "since": report["since"],
        "drifting": drifting,
        "columns": columns,
    }
    return (DRIFT if drifting else RESOLVED), data


def decay_data(kind: str, model: str, version: int, report: Mapping[str, Any]) -> dict[str, Any]:
    """The `data` of an event of decay; `report` as of `edgeline.monitoring.decay.Decay.report`.

    Args:
        kind: `ESTIMATED`, `MEASURED` or `CONCEPT`.
    """
    told = {"model": model, "version": version}
    if kind == CONCEPT:
        return {**told, **report["concept"]}
    found = report["estimated" if kind == ESTIMATED else "measured"]
    more = ("slices",) if kind == MEASURED else ()
    told |= {key: found.get(key) for key in ("decayed", "rows", "since", "metrics", *more)}
    return {**told, "usual": report["usual"]}


def range_data(
    model: str,
    version: int,
    feature: str,
    value: object,
    rows: int,
    allowed: FeatureRange,
    refused: bool,
) -> dict[str, Any]:
    """The `data` of an event of values out of range.

    Args:
        value: the first one.
        rows: that have one.
    """
    limits: dict[str, Any] = allowed.to_json() if allowed.values is None else {}
    return {
        "model": model,
        "version": version,
        "feature": feature,
        "value": value,
        "rows": rows,
        "range": {**limits, "text": str(allowed)},
        "refused": refused,
    }
