"""Answers, labels and alerts to a real MQTT broker, which goes away and comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, Subscriber
from running import MIXED, Running, eventually

from edgeline import artifacts
from edgeline.artifacts import bundle, ranges
from edgeline.artifacts.features import Feature
from edgeline.artifacts.ranges import FeatureRange
from edgeline.errors import EdgelineError, UsageError
from edgeline.monitoring.cloud_events import signature
from edgeline.runtimes.interpreter import load
from edgeline.server.__main__ import main
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import mqtt_broker
from edgeline.server.watching.mqtt_answers import AnswerRule, rules
from edgeline.server.watching.mqtt_broker import MqttLogin
from edgeline.server.watching.mqtt_publisher import MqttMessage, MqttPublisher
from edgeline.server.watching.outbox import LIMIT
from edgeline.server.watching.sent_bytes import DayOfBytes

KEY = b"a key of the tests"
ROW = {"amount": [1, 2], "count": [1], "name": ["a"]}
OUTSIDE = {"amount": [1, 900], "count": [1], "name": ["a"]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A bundle `taxi` 3, a regression whose amounts go to 100."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(MIXED.read_bytes())
    (folder / ranges.FILE).write_bytes(ranges.dumps({"amount": FeatureRange(0.0, 100.0)}))
    made = bundle.Bundle(
        name="taxi", version=3, target="litert", model="model.tflite", task="regression",
        quantisation="float", takes="raw", signature=load(folder / "model.tflite").signature,
        features=(Feature("amount", "float32", (2,)), Feature("count", "int64"),
                  Feature("name", "string")),
        files=artifacts.list_files(folder),
    )  # fmt: skip
    bundle.write_manifest(folder, made)
    return folder


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path / "broker")
    yield made
    made.stop()


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    made = Subscriber(broker)
    yield made
    made.close()


def options(broker: Mosquitto, *more: str) -> list[str]:
    (broker.folder / "key").write_bytes(KEY)
    return [
        *("--mqtt", f"mqtt://127.0.0.1:{broker.port}/site-4", "--device", "edge-7"),
        *("--mqtt-login", str(broker.login), "--webhook-key", str(broker.folder / "key")),
        *more,
    ]


def ask(server: Running, *rows: dict[str, Any], identity: str = "") -> None:
    headers = {"X-Request-Id": identity} if identity else {}
    status, answer, _ = server.ask(
        "POST", "/v1/models/taxi:predict", {"instances": list(rows)}, headers
    )
    assert status == 200, answer


def test_answers_and_signed_alerts_outlive_the_broker_and_the_device_says_farewell(
    model: Path, broker: Mosquitto, subscriber: Subscriber, start: Callable[..., Running]
) -> None:
    server = start(model, *options(broker, "--mqtt-answers", "all"))
    topic, status = "site-4/edge-7/taxi", "site-4/edge-7/status"
    ask(server, ROW, ROW, identity="trip-17")
    eventually(lambda: bool(subscriber.of(f"{topic}/answers")))
    [found] = subscriber.of(f"{topic}/answers")
    assert (found["id"], found["version"]) == ("trip-17", 3)
    assert [each["row"] for each in found["answers"]] == [0, 1]
    assert subscriber.of(status)[-1] == {"status": "online"}

    broker.stop()
    for _ in range(5):
        ask(server, OUTSIDE)  # nobody waits for the broker
    eventually(lambda: server.metric("edgeline_mqtt_connected") == 0)
    broker.start()
    eventually(lambda: len(subscriber.of(f"{topic}/alerts")) == 1, 60.0)
    [message] = subscriber.messages[f"{topic}/alerts"]
    event = json.loads(message.payload)
    assert event["type"] == "io.edgeline.range.detected"
    assert event["source"] == "/edge-7/models/taxi/versions/3"
    sent = dict(message.properties.UserProperty)
    assert sent["X-Hub-Signature-256"] == signature(KEY, message.payload)
    assert message.properties.ContentType == "application/cloudevents+json"
    eventually(lambda: server.metric('edgeline_events_total{to="mqtt",result="sent"') == 7)
    assert not server.metric('edgeline_events_total{to="mqtt",result="dropped"')

    server.stop()
    eventually(lambda: subscriber.of(status)[-1] == {"status": "offline"})
    assert [message.retain for message in subscriber.messages[status]][-1] is False


def test_a_killed_device_is_said_to_be_offline_by_its_last_will(
    model: Path, broker: Mosquitto, subscriber: Subscriber, start: Callable[..., Running]
) -> None:
    server = start(model, *options(broker))
    status = "site-4/edge-7/status"
    eventually(lambda: subscriber.of(status) == [{"status": "online"}])
    server.process.kill()
    eventually(lambda: subscriber.of(status)[-1] == {"status": "offline"})
    late = Subscriber(broker, "+/+/status")
    eventually(lambda: bool(late.of(status)))
    assert late.messages[status][0].retain  # who comes later learns it, too
    late.close()


def test_a_late_last_will_of_an_old_server_is_contradicted_by_the_new_one(
    model: Path, broker: Mosquitto, subscriber: Subscriber, start: Callable[..., Running]
) -> None:
    old = start(model, *options(broker))
    status = "site-4/edge-7/status"
    eventually(lambda: subscriber.of(status) == [{"status": "online"}])
    url, login = f"mqtt://127.0.0.1:{broker.port}/site-4", MqttLogin(str(broker.login))
    new = MqttPublisher(mqtt_broker.broker(url, login), "edge-7")
    eventually(lambda: new.connected and len(subscriber.of(status)) == 2)
    old.process.kill()
    said = ["online", "online", "offline", "online"]
    eventually(lambda: [each["status"] for each in subscriber.of(status)] == said)
    new.close(1.0)
    eventually(lambda: subscriber.of(status)[-1] == {"status": "offline"})


def test_changes_alone_are_sent_and_weighed_against_the_inputs(
    model: Path, broker: Mosquitto, subscriber: Subscriber, start: Callable[..., Running]
) -> None:
    server = start(model, *options(broker))
    other = {**ROW, "amount": [7, 8]}
    for row in (ROW, ROW, ROW, other, other, ROW):
        ask(server, row)
    ask(server, ROW, other, other)
    topic = "site-4/edge-7/taxi/answers"
    eventually(lambda: len(subscriber.of(topic)) == 4)
    rows = [[each["row"] for each in found["answers"]] for found in subscriber.of(topic)]
    assert rows == [[0], [0], [0], [1]]
    inputs = 9 * (2 * 4 + 8 + 1)  # two floats, a whole number, and a letter
    assert server.metric('edgeline_mqtt_input_bytes_total{model="taxi"}') == inputs
    sizes = [len(topic) + len(each.payload) for each in subscriber.messages[topic]]
    sent = 'edgeline_mqtt_sent_bytes_total{model="taxi",what="answers"}'
    eventually(lambda: server.metric(sent) == sum(sizes))
    shown = server.ask("GET", "/overview")[1]["mqtt"]
    assert shown["connected"] and shown["models"] == [
        {"model": "taxi", "sent": sum(sizes), "answers": sum(sizes), "alerts": 0, "labels": 0,
         "inputs": inputs}
    ]  # fmt: skip


def test_a_wrong_password_is_said_once(broker: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    broker.login.write_text("edge-7:another\n")
    url = f"mqtt://127.0.0.1:{broker.port}"
    publisher = MqttPublisher(mqtt_broker.broker(url, MqttLogin(str(broker.login))), "edge-7")
    log = broker.folder / "log.txt"
    eventually(lambda: log.read_text().count("not authorised") >= 2)  # it was tried again
    publisher.close(1.0)
    assert caplog.text.count("refuses the connection: Not authorized") == 1
    assert not publisher.connected


def test_a_broker_with_tls_is_told_by_its_certificate(
    model: Path,
    tmp_path: Path,
    certificates: Path,
    start: Callable[..., Running],
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = Mosquitto(tmp_path / "tls", certificates)
    subscriber = Subscriber(broker, "#", certificates)
    given = ["--mqtt", f"mqtts://localhost:{broker.port}", "--mqtt-login", str(broker.login)]
    client = [
        *("--mqtt-certificate", str(certificates / "client.pem")),
        *("--mqtt-key", str(certificates / "client.key")),
    ]
    trusting = start(model, *given, *client, "--mqtt-ca", str(certificates / "ca.pem"))
    eventually(lambda: trusting.metric("edgeline_mqtt_connected") == 1)
    ask(trusting, ROW)
    eventually(lambda: any(topic.endswith("/taxi/answers") for topic in subscriber.messages))
    assert all(topic.startswith("edgeline/") for topic in subscriber.messages)
    login = MqttLogin(str(broker.login), *map(str, (certificates / "client.pem",
                                                    certificates / "client.key")))  # fmt: skip
    doubting = MqttPublisher(mqtt_broker.broker(given[1], login), "edge-8")
    eventually(lambda: "its certificate is not trusted" in caplog.text)
    doubting.close(1.0)
    subscriber.close()
    trusting.stop()
    broker.stop()


def test_what_does_not_fit_while_the_broker_is_away_is_dropped_and_counted():
    publisher = MqttPublisher(mqtt_broker.broker("mqtt://127.0.0.1:1", MqttLogin()), "edge-7")
    taken = [publisher.put(MqttMessage("taxi", "answers", b"{}")) for _ in range(LIMIT + 10)]
    assert LIMIT <= sum(taken) <= LIMIT + 1 and not taken[-1]  # one may be in the thread's hand
    publisher.close(0.6)
    assert publisher.results == {"dropped": LIMIT + 10}


def test_large_messages_that_wait_are_limited_by_their_bytes():
    publisher = MqttPublisher(mqtt_broker.broker("mqtt://127.0.0.1:1", MqttLogin()), "edge-7")
    message = MqttMessage("taxi", "answers", b" " * (200 << 10))
    taken = [publisher.put(message) for _ in range(60)]
    assert 40 <= sum(taken) <= 41 and not taken[-1]
    publisher.close(0.6)


@pytest.mark.parametrize(
    ("url", "login", "said"),
    [
        ("http://broker", MqttLogin(), "is not the address of an MQTT broker"),
        ("mqtts://broker:99999", MqttLogin(), "is not the address of an MQTT broker"),
        ("mqtts://a:b@broker", MqttLogin(), "holds a password"),
        ("mqtts://broker/a/+", MqttLogin(), "which topics cannot begin with"),
        ("mqtt://broker", MqttLogin(login="file"), "in the clear"),
        ("mqtt://broker", MqttLogin(ca="file"), "--mqtt-ca is for mqtts://"),
        ("mqtts://broker", MqttLogin(ca="none.pem"), "none.pem is missing"),
        ("mqtts://broker", MqttLogin(key="none.pem"), "give --mqtt-certificate, too"),
        ("mqtts://broker", MqttLogin(login="none"), "cannot be read"),
    ],
)
def test_what_is_no_broker_is_told_before_anything_is_served(url, login, said):
    with pytest.raises(UsageError, match=said.replace("+", r"\+")):
        mqtt_broker.broker(url, login)


def test_options_that_say_nothing_alone_are_refused(capsys):
    with pytest.raises(EdgelineError, match="--mqtt-answers is for --mqtt"):
        ServerSettings(mqtt_answers="all")
    with pytest.raises(EdgelineError, match="give --webhook, --mqtt, --fleet or --root, too"):
        ServerSettings(device="edge-7")
    with pytest.raises(UsageError, match="give changes, all, none or a share"):
        rules("taxi=2")
    assert main([str(MIXED), "--mqtt", "ftp://a", "--port", "0"]) == 2
    assert "give mqtts://HOST/PREFIX" in capsys.readouterr().err
    assert rules("taxi=0.1,camera=changes") == {
        "": AnswerRule(0.0), "taxi": AnswerRule(0.1), "camera": AnswerRule(1.0, True)
    }  # fmt: skip


def test_a_day_of_bytes_forgets_the_day_before():
    day = DayOfBytes()
    for hour in range(30):
        day.add(10, hour)
    assert day.total(29) == 240
    assert day.total(40) == 130
    assert day.total(99) == 0
