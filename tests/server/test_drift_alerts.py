"""When drift and decay are told: at each change, and each hour while they last."""

from __future__ import annotations

import json
from typing import Any

import pytest
from receiving import Receiver
from running import eventually

from edgeline.monitoring.events import drift_event
from edgeline.server.watching.alerts import AGAIN, Alerts, DecayAlerts
from edgeline.server.watching.delivery import Delivery


class Sent(Delivery):
    """What would be sent."""

    def __init__(self) -> None:
        self.device = "edge-7"
        self.events: list[dict[str, Any]] = []

    def put(self, event: dict[str, object]) -> bool:
        self.events.append(event)
        return True

    def told(self, field: str) -> list[Any]:
        found = [event["data"][field] for event in self.events]
        self.events.clear()
        return found


def drift(*columns: str) -> dict[str, Any]:
    return {"drifting": list(columns), "rows": 1, "since": 0, "inputs": {}, "outputs": {}}


def decay(*metrics: str, concept: bool | None = False) -> dict[str, Any]:
    side = {"decayed": list(metrics), "rows": 1, "since": 0, "metrics": {}}
    quiet = {**side, "decayed": []}
    return {"estimated": quiet, "measured": side, "usual": {}, "concept": {"drifting": concept}}


def test_each_change_of_what_drifts_is_told_and_the_same_again_after_an_hour():
    sent, now = Sent(), [0.0]
    alerts = Alerts(sent, lambda: now[0])
    seen = [(), ("fare",), ("fare", "tips"), ("fare", "tips"), ("tips",), ("tips",)]
    for columns in seen:
        alerts.compare("taxi", 3, drift(*columns))
        now[0] += 10
    # the receiver learns that fare has recovered
    assert sent.told("drifting") == [["fare"], ["fare", "tips"], ["tips"]]
    now[0] += AGAIN
    for _ in range(2):
        alerts.compare("taxi", 3, drift("tips"))
    assert sent.events[0]["source"] == "/edge-7/models/taxi/versions/3"
    assert sent.told("drifting") == [["tips"]]
    for _ in range(2):
        alerts.compare("taxi", 3, drift())
        now[0] += 2 * AGAIN
    assert [event["type"] for event in sent.events] == ["io.edgeline.drift.resolved"]


def test_decay_that_lasts_is_told_again_after_an_hour():
    sent, now = Sent(), [0.0]
    alerts = DecayAlerts(sent, lambda: now[0])
    for metrics in ((), ("auc",), ("auc",)):
        alerts.compare("taxi", 3, decay(*metrics))
    assert sent.told("decayed") == [["auc"]]
    now[0] += AGAIN
    alerts.compare("taxi", 3, decay("auc", concept=True))
    assert [event["type"] for event in sent.events] == [
        "io.edgeline.decay.measured",
        "io.edgeline.decay.concept",
    ]
    sent.events.clear()
    alerts.compare("taxi", 3, decay())
    assert [event["data"].get("decayed") for event in sent.events] == [[], None]
    now[0] += 2 * AGAIN
    alerts.compare("taxi", 3, decay())
    assert len(sent.events) == 2


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("9999", 300.0), ("soon", 0.5)])
def test_a_busy_receiver_is_asked_again_when_it_wants_to_be(asked, waited, monkeypatch):
    receiver, pauses = Receiver(refusals=1, retry_after=asked), []
    sender = Delivery("webhook", receiver.url, device="edge-7")
    monkeypatch.setattr(sender, "_wait", lambda pause: pauses.append(pause) or True)
    sender.put({"id": "1"})
    eventually(lambda: sender.results["sent"])
    sender.close(1.0)
    receiver.close()
    assert pauses == [waited]
    assert receiver.events == [{"id": "1"}]


def test_an_event_of_many_columns_stays_within_what_a_receiver_has_to_take():
    found = {"psi": 0.5, "histogram": {"live": [0.1] * 20}, "drifting": ["psi"]}
    names = [f"column_{number}" for number in range(300)]
    report = drift(*names) | {"inputs": dict.fromkeys(names, found)}
    _, data = drift_event("m", 1, report)
    assert data["columns"].keys() == set(names) == set(data["drifting"])
    assert sum("histogram" in each for each in data["columns"].values()) == 20
    assert "histogram" in found and len(json.dumps(data)) < 64 * 1024
