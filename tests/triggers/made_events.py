"""Events as devices send them, and rules for them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from edgeline.triggers.events import CloudEvent, read_line
from edgeline.triggers.judging import told
from edgeline.triggers.rules import TriggerFile

NOW = 1_800_000_000.0
DRIFT, RESOLVED = "io.edgeline.drift.detected", "io.edgeline.drift.resolved"
RANGE = "io.edgeline.range.detected"
BASE = "fare,company,tips\n10.5,Blue Cab,2.0\n8.0,Red Cab,0.0\n"  # rows of a team's own


def document(device: str, *drifting: str, time: float = NOW, **more: Any) -> dict[str, Any]:
    kind = more.get("type", DRIFT)
    data: dict[str, Any] = {"model": "taxi", "version": 3, "drifting": list(drifting)}
    if kind == RANGE:
        data = {"model": "taxi", "version": 3, "feature": drifting[0]}
    return {
        "specversion": "1.0",
        "id": f"{device}-{time}-{kind}-{drifting}",
        "source": f"/{device}/models/taxi/versions/3",
        "type": kind,
        "time": told(time),
        "datacontenttype": "application/json",
        "data": data,
        **more,
    }


def event(device: str, *drifting: str, **more: Any) -> CloudEvent:
    return read_line(json.dumps(document(device, *drifting, **more)).encode())


def declared(**rule: Any) -> TriggerFile:
    """A file with one rule."""
    whole = {"name": "retrain", "signals": ["drift"], "run": {"pipeline": "tiny.py"}, **rule}
    return msgspec.convert({"rules": [whole]}, TriggerFile)
