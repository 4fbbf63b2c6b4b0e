"""What is taken of the messages of a broker, told without one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from made_events import declared, document
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from running import eventually

from edgeline.errors import EdgelineError
from edgeline.server.watching.mqtt_broker import MqttLogin, broker, kept_name
from edgeline.triggers import subscribing
from edgeline.triggers.store import FEW, TriggerStore
from edgeline.triggers.subscribing import NAME, EventSubscriber


class Acknowledged:
    """A client of the broker that notes what was acknowledged and asked for."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.topics: list[str] = []

    def ack(self, number: int, _: int) -> None:
        self.numbers.append(number)

    def subscribe(self, topic: str, qos: int) -> None:
        assert qos == 1
        self.topics.append(topic)


def message(level: str, number: int, event: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(
        topic=f"site/{level}/taxi/alerts", mid=number, qos=1, retain=False, properties=None,
        payload=json.dumps(event).encode(),
    )  # fmt: skip


class Subscribed:
    """A subscriber whose thread runs, without a broker."""

    def __init__(self, store: TriggerStore, folder: Path, rate: float = 50.0) -> None:
        found = broker("mqtt://127.0.0.1:1/site", MqttLogin())
        self.subscriber = EventSubscriber(found, store, (), lambda: None, folder, 60, rate)
        self.client = self.subscriber._client = Acknowledged()
        self.subscriber._thread.start()
        self._number = 0

    def send(self, level: str, event: dict[str, Any]) -> None:
        self._number += 1
        self.subscriber._on_message(self.client, None, message(level, self._number, event))

    def close(self) -> None:
        self.subscriber._stopping.set()
        self.subscriber._thread.join()


@pytest.fixture
def subscribed(tmp_path: Path) -> Iterator[Callable[..., Subscribed]]:
    made: list[Subscribed] = []

    def make(store: TriggerStore, **given: Any) -> Subscribed:
        made.append(Subscribed(store, tmp_path, **given))
        return made[-1]

    yield make
    for each in made:
        each.close()


def drift(device: str, number: int = 0) -> dict[str, Any]:
    return document(device, "fare", time=time.time(), id=f"{device}-{number}")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribing, "PAUSE", 0.02)


@pytest.mark.parametrize("below", ["/{}", "%2F{}"])
def test_a_device_makes_up_no_further_ones_below_its_name(subscribed, below: str):
    store = TriggerStore(declared(quorum=2), None)
    made = subscribed(store)
    for number in range(5):
        made.send("edge-1", drift("edge-1" + below.format(number)))
    made.send("edge-1", drift("edge-1"))
    eventually(lambda: len(made.client.numbers) == 6)
    assert made.subscriber.results == {"refused": 5, "counted": 1}
    assert not store.firings()


def test_a_device_that_sends_too_fast_is_refused_and_the_others_are_heard(subscribed):
    store = TriggerStore(declared(quorum=2), None)
    made = subscribed(store, rate=0.3)  # three at once
    for number in range(20):
        made.send("bad", drift("bad", number))
    made.send("good", drift("good"))
    eventually(lambda: len(made.client.numbers) == 21)
    assert made.subscriber.results["limited"] >= 16
    [firing] = store.firings()
    assert set(firing.devices) == {"/bad", "/good"}


def test_a_device_has_its_share_of_what_is_remembered(subscribed):
    file = msgspec.structs.replace(declared(quorum=9), max_events=FEW + 1)
    made = subscribed(TriggerStore(file, None), rate=1000.0)
    for number in range(FEW + 10):
        made.send("bad", drift("bad", number))
        eventually(lambda sent=number + 1: len(made.client.numbers) == sent)
    made.send("good", drift("good"))
    eventually(lambda: made.subscriber.results == {"counted": FEW + 1, "limited": 10})

    # all are too many now: an event waits, Paho's thread does not, and nothing is acknowledged
    made.send("third", drift("third"))
    made.send("fourth", drift("fourth"))
    assert len(made.client.numbers) == FEW + 11
    made.subscriber._on_disconnect(None, None, None, SimpleNamespace(is_failure=True), None)
    eventually(made.subscriber._waiting.empty)
    assert len(made.client.numbers) == FEW + 11  # the broker brings them again


def test_a_refused_subscription_is_told_and_asked_for_again(subscribed, caplog):
    made = subscribed(TriggerStore(declared(), None))
    refused, granted = (ReasonCode(PacketTypes.SUBACK, identifier=code) for code in (0x87, 1))
    made.subscriber._on_connect(made.client, None, None, granted, None)
    assert not made.subscriber.connected
    made.subscriber._on_subscribe(None, None, 1, [refused], None)
    assert "edgeline_trigger_mqtt_connected 0" in list(made.subscriber.lines())
    assert "refuses the subscription: Not authorized" in caplog.text
    eventually(lambda: made.client.topics == ["site/+/+/alerts"] * 2)
    made.subscriber._on_subscribe(None, None, 2, [granted], None)
    assert made.subscriber.connected


def test_the_broker_knows_a_server_by_its_state_wherever_that_runs(tmp_path: Path):
    name = kept_name(tmp_path / NAME)
    assert kept_name(tmp_path / NAME) == name and len(name) == 23
    assert kept_name(tmp_path / "other") != name
    with pytest.raises(EdgelineError, match="cannot be kept"):
        kept_name(tmp_path / "none" / NAME)
