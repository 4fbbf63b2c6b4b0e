"""What answers that go to a broker say, and which give way to alerts; told without a broker."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeline.artifacts.bundle import Tensor
from edgeline.server.watching import mqtt_broker
from edgeline.server.watching.mqtt_answers import Decided, MqttAnswers
from edgeline.server.watching.mqtt_broker import MqttLogin
from edgeline.server.watching.mqtt_publisher import MqttMessage, MqttPublisher, UnwrittenMessage
from edgeline.server.watching.outbox import LIMIT


def described(task: str, *shape: int) -> Any:
    name = "prediction" if task else "embedding"
    return SimpleNamespace(
        name="taxi", version=3, labels=("no", "yes", "perhaps"), decision_threshold=None,
        signature=SimpleNamespace(outputs=(Tensor(name, "float32", (-1, *shape)),)),
        bundle=SimpleNamespace(task=task) if task else None,
    )  # fmt: skip


def changed(decided: Decided, name: str, values: Any) -> list[dict[str, Any]]:
    found = decided.of({name: np.asarray(values, np.float32)})
    rows = decided.changed(found)
    return decided.told(rows, {name: column[rows] for name, column in found.columns.items()})


def test_rows_that_are_decided_otherwise_are_told_by_label_and_by_three_digits():
    binary = Decided(described("binary_classification", 1))
    assert changed(binary, "prediction", [[0.1], [0.4], [0.83], [0.9]]) == [
        {"row": 0, "label": "no", "score": 0.1}, {"row": 2, "label": "yes", "score": 0.83}
    ]  # fmt: skip
    assert changed(binary, "prediction", [[0.7]]) == []  # as the request before ended
    several = Decided(described("multiclass_classification", 3))
    assert [each["label"] for each in changed(several, "prediction", np.eye(3))] == [
        *("no", "yes", "perhaps")
    ]
    regression = Decided(described("regression", 1))
    values = [[999.6], [1000.4], [0.0], [-0.5], [0.5], [0.5004], [np.nan], [np.inf], [1e-40]]
    told = changed(regression, "prediction", values)
    assert [each["row"] for each in told] == [0, 2, 3, 4, 6, 8]
    assert told[4]["value"] is None
    assert changed(regression, "prediction", [[1e-40]]) == []


@pytest.mark.parametrize("shape", [(0, 5, 4), (2, 0, 64), (2, 5, 64)])
def test_outputs_of_no_rows_no_values_or_too_many_are_told_without_them(shape: tuple[int, ...]):
    told = changed(Decided(described("", -1, 64)), "embedding", np.zeros(shape))
    assert all(each["outputs"] in ({}, {"embedding": []}) for each in told)
    assert [each["row"] for each in told] == ([0] if shape[0] else [])


class Kept:
    """A publisher that keeps what it is given."""

    device = "edge-7"

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.sent = SimpleNamespace(add=lambda *_: None)

    def put(self, message: Any) -> bool:
        self.messages.append(message)
        return True


def test_what_is_signed_names_device_and_model_and_is_written_later():
    kept: Any = Kept()
    answers = MqttAnswers(kept, "all")
    scores = np.full((700, 1), 0.83, np.float32)
    answers.observer(described("binary_classification", 1))({}, {"prediction": scores})
    scores[:] = 0  # the memory is the model's again
    assert all(isinstance(each, UnwrittenMessage) for each in kept.messages)
    first, second = (json.loads(each.written().payload) for each in kept.messages)
    assert (first["device"], first["model"], first["version"]) == ("edge-7", "taxi", 3)
    assert second["answers"][-1] == {"row": 699, "label": "yes", "score": 0.83}
    answers.labels("taxi", [{"id": "trip-17", "label": 1}])
    label = json.loads(kept.messages[-1].payload)
    assert (label["device"], label["model"]) == ("edge-7", "taxi")


def test_alerts_drive_out_the_oldest_answers_and_answers_no_alerts():
    publisher = MqttPublisher(mqtt_broker.broker("mqtt://127.0.0.1:1", MqttLogin()), "edge-7")
    for _ in range(LIMIT + 1):
        publisher.put(MqttMessage("taxi", "answers", b"{}"))
    dropped = publisher.results["dropped"]
    assert all(publisher.put(MqttMessage("taxi", "alerts", b"{}")) for _ in range(10))
    assert publisher.results["dropped"] == dropped + 10
    assert not publisher.put(MqttMessage("taxi", "answers", b"{}"))
    publisher.close(0.6)
