"""What is taken of the messages of a broker, told without one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_events import declared, document

from edgeline.server.watching.mqtt_broker import MqttLogin, broker
from edgeline.triggers.store import TriggerStore
from edgeline.triggers.subscribing import EventSubscriber


class Acknowledged:
    """A client of the broker that notes what was acknowledged."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def ack(self, number: int, _: int) -> None:
        self.numbers.append(number)


def message(level: str, number: int, event: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(
        topic=f"site/{level}/taxi/alerts", mid=number, qos=1, retain=False, properties=None,
        payload=json.dumps(event).encode(),
    )  # fmt: skip


def subscribed(store: TriggerStore, folder: Path) -> EventSubscriber:
    found = broker("mqtt://127.0.0.1:1/site", MqttLogin())
    return EventSubscriber(found, store, (), lambda: None, folder, 60)


@pytest.mark.parametrize("below", ["/{}", "%2F{}"])
def test_a_device_makes_up_no_further_ones_below_its_name(tmp_path: Path, below: str):
    store, client = TriggerStore(declared(quorum=2), None), Acknowledged()
    subscriber = subscribed(store, tmp_path)
    for number in range(5):
        made = document("edge-1" + below.format(number), "fare", time=time.time())
        subscriber._on_message(client, None, message("edge-1", number, made))
    own = document("edge-1", "fare", time=time.time())
    subscriber._on_message(client, None, message("edge-1", 5, own))
    assert subscriber.results == {"refused": 5, "counted": 1}
    assert len(client.numbers) == 6
    assert not store.firings()
