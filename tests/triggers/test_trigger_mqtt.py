"""Events that devices publish to a real MQTT broker start runs, also those of a time away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto
from made_events import document
from running import eventually
from trigger_serving import KEY, Serving

from edgeline.monitoring.cloud_events import CONTENT_TYPE
from edgeline.server.watching import mqtt_broker
from edgeline.server.watching.mqtt_broker import MqttLogin
from edgeline.server.watching.mqtt_publisher import MqttMessage, MqttPublisher

pytestmark = pytest.mark.slow


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path / "broker")
    yield made
    made.stop()


def test_what_was_published_while_the_server_was_away_starts_a_run(
    broker: Mosquitto, serving: Callable[..., Serving]
) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}/site-4"
    given = ("--mqtt", url, "--mqtt-login", str(broker.login))
    login = MqttLogin(str(broker.login))
    first, second = (
        MqttPublisher(mqtt_broker.broker(url, login), device, KEY)
        for device in ("edge-1", "edge-2")
    )
    unsigned = MqttPublisher(mqtt_broker.broker(url, login), "edge-3")
    server = serving(*given)

    def counts() -> dict[str, Any]:
        found: dict[str, Any] = server.ask("GET", "/state")[1]["events"]
        return found

    def metric(result: str) -> str:
        return f'edgeline_trigger_mqtt_events_total{{result="{result}"}}'

    eventually(lambda: "edgeline_trigger_mqtt_connected 1" in server.ask("GET", "/metrics")[1])
    event = document("edge-1", "fare", time=time.time())
    first.alerts.put(event)
    first.alerts.put(event)
    first.alerts.put(document("edge-2", "fare", time=time.time()))  # of another's name
    unsigned.alerts.put(document("edge-3", "fare", time=time.time()))
    eventually(lambda: f"{metric('refused')} 2" in server.ask("GET", "/metrics")[1])
    eventually(lambda: counts() == {"counted": 1, "repeated": 1})
    server.stop()

    payload = json.dumps(document("edge-2", "fare", time=time.time())).encode()
    second.put(MqttMessage("taxi", "alerts", payload, CONTENT_TYPE))
    eventually(lambda: second.results["sent"] == 1)
    server = serving(*given)
    eventually(lambda: counts().get("counted") == 2)

    def is_over() -> bool:
        runs = server.ask("GET", "/state")[1]["rules"][0]["runs"]
        return bool(runs) and runs[0]["state"] == "succeeded"

    eventually(is_over, 60.0)
    assert "is not of the device of its topic" in server.log
    assert "The event is not signed" in server.log
    for each in (first, second, unsigned):
        each.close(1.0)
