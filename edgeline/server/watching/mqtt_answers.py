"""What goes to an MQTT broker beside alerts: answers of the models, and labels that came late.

`--mqtt-answers` says which answers: `all`, a share such as `0.1` of the requests, `none`, or
`changes`: rows that are decided otherwise than the row before (of a regression, whose value differs
from it in the first three digits). `taxi=all,camera=changes` says it of each model; others then
send none.

An answer is `{"time": ..., "version": 7, "id": "trip-17", "answers": [{"row": 0, "label": "yes",
"score": 0.83}]}`: `id` is the request's, where the client gave one, and `row` the row there. A
regression has `value` in place of label and score, a model of no known task `outputs`; more than
`VALUES` values of a row are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.calibration import BINARY, MULTICLASS
from edgeline.artifacts.decision_threshold import says_yes
from edgeline.artifacts.models import PREDICTION
from edgeline.errors import UsageError
from edgeline.formats.dtypes import Array
from edgeline.runtimes.interpreter import dequantise
from edgeline.server.models.model import Description, Observer
from edgeline.server.tensors.json import dumps
from edgeline.server.watching import tracing
from edgeline.server.watching.mqtt_publisher import MqttMessage, MqttPublisher
from edgeline.server.watching.sent_bytes import INPUTS, size_of

CHANGES, ALL, NONE = "changes", "all", "none"
AT_ONCE = 500  # answers or labels in one message
VALUES = 16
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class AnswerRule:
    """Which answers of a model are sent.

    Attributes:
        share: of the requests.
        changes: whether only rows are sent that differ from the one before.
    """

    share: float
    changes: bool = False


def rules(text: str) -> dict[str, AnswerRule]:
    """The rules in `--mqtt-answers` by model; that of "" is of all others.

    Raises:
        UsageError: it is not of that form.
    """
    found: dict[str, AnswerRule] = {}
    for part in text.split(","):
        model, _, what = part.strip().rpartition("=")
        if model in found:
            raise UsageError(f"--mqtt-answers names {model or 'no model'} twice: leave one out.")
        found[model] = _rule(what)
    return {"": AnswerRule(0.0), **found}


def _rule(what: str) -> AnswerRule:
    known = {CHANGES: AnswerRule(1.0, True), ALL: AnswerRule(1.0), NONE: AnswerRule(0.0)}
    if what in known:
        return known[what]
    try:
        share = float(what)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(
            f"--mqtt-answers is {what[:100]!r}: give changes, all, none or a share from 0 to 1, of "
            "each model as NAME=SHARE."
        )
    return AnswerRule(share)


class MqttAnswers:
    """Brings answers and labels to a publisher."""

    def __init__(self, publisher: MqttPublisher, answers: str) -> None:
        """`answers` is `--mqtt-answers`."""
        self._publisher, self._rules = publisher, rules(answers)

    def observer(self, description: Description) -> Observer:
        """What the workers of a version call after each prediction."""
        name, sent = description.name, self._publisher.sent
        rule = self._rules.get(name, self._rules[""])
        decided = Decided(description)

        def observe(inputs: Arrays, outputs: Arrays) -> None:
            sent.add(name, INPUTS, size_of(inputs))
            if not rule.share or (rule.share < 1 and random.random() >= rule.share):
                return
            rows = decided.changed(outputs) if rule.changes else range(_count(outputs))
            if len(rows):
                self._put(name, decided.told(outputs, rows), description.version)

        return observe

    def labels(self, model: str, found: Sequence[Mapping[str, Any]]) -> None:
        """Send labels that were joined: `id`, `label` and perhaps `row` of each."""
        now = _now()
        for first in range(0, len(found), AT_ONCE):
            payload = dumps({"time": now, "labels": list(found[first : first + AT_ONCE])})
            self._publisher.put(MqttMessage(model, "labels", payload))

    def _put(self, model: str, answers: list[dict[str, Any]], version: int) -> None:
        head: dict[str, Any] = {"time": _now(), "version": version}
        if identity := tracing.named():
            head["id"] = identity
        for first in range(0, len(answers), AT_ONCE):
            payload = dumps({**head, "answers": answers[first : first + AT_ONCE]})
            self._publisher.put(MqttMessage(model, "answers", payload))


class Decided:
    """What a version's outputs say, row by row, and whether it is something else than before."""

    def __init__(self, description: Description) -> None:
        outputs = description.signature.outputs
        self._outputs: tuple[Tensor, ...] = tuple(outputs)
        task = description.bundle.task if description.bundle is not None else ""
        self._task = task if any(each.name == PREDICTION for each in outputs) else ""
        self._labels, self._threshold = description.labels, description.decision_threshold
        self._last: Any = None
        of_task: dict[str, Callable[[Arrays, Sequence[int]], list[dict[str, Any]]]] = {
            BINARY: self._binary,
            MULTICLASS: self._multiclass,
            "regression": self._values,
        }
        self._tell = of_task.get(self._task, self._all)

    def changed(self, outputs: Arrays) -> Sequence[int]:
        """The rows that are decided otherwise than the one before; of the first that of the request
        before. Two workers may take turns at that, so that a change is sent twice or late."""
        keys = [tuple(each.items()) for each in self._keys(outputs)]
        before = [self._last, *keys[:-1]]
        if keys:
            self._last = keys[-1]
        return [
            row for row, (key, last) in enumerate(zip(keys, before, strict=True)) if key != last
        ]

    def told(self, outputs: Arrays, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The answers of some rows, as they are sent."""
        found = self._tell(self._real(outputs), rows)
        return [{"row": row, **each} for row, each in zip(rows, found, strict=True)]

    def _keys(self, outputs: Arrays) -> list[dict[str, Any]]:
        """What of each row counts as the same."""
        told = self._tell(self._real(outputs), range(_count(outputs)))
        if self._task in (BINARY, MULTICLASS):
            return [{"label": each["label"]} for each in told]
        return [{name: _three_digits(value) for name, value in each.items()} for each in told]

    def _real(self, outputs: Arrays) -> Arrays:
        named = tuple(each for each in self._outputs if each.name in outputs)
        return dequantise({each.name: outputs[each.name] for each in named}, named)

    def _binary(self, outputs: Arrays, rows: Sequence[int]) -> list[dict[str, Any]]:
        scores = _flat(outputs[PREDICTION])[:, -1]
        decisions = says_yes(scores, self._threshold)
        return [self._class(int(decisions[row]), scores[row]) for row in rows]

    def _multiclass(self, outputs: Arrays, rows: Sequence[int]) -> list[dict[str, Any]]:
        scores = _flat(outputs[PREDICTION])
        decisions = scores.argmax(axis=1)
        return [self._class(int(decisions[row]), scores[row, decisions[row]]) for row in rows]

    def _class(self, place: int, score: Any) -> dict[str, Any]:
        names = self._labels
        label = names[place] if names is not None and place < len(names) else place
        return {"label": label, "score": _short(score)}

    def _values(self, outputs: Arrays, rows: Sequence[int]) -> list[dict[str, Any]]:
        found = _flat(outputs[PREDICTION])
        return [{"value": _plain(found[row])} for row in rows]

    def _all(self, outputs: Arrays, rows: Sequence[int]) -> list[dict[str, Any]]:
        flat = {name: _flat(array) for name, array in outputs.items() if array.ndim}
        small = {name: array for name, array in flat.items() if array.shape[1] <= VALUES}
        return [
            {"outputs": {name: _plain(array[row]) for name, array in small.items()}} for row in rows
        ]


def _count(outputs: Arrays) -> int:
    return min((len(array) for array in outputs.values() if array.ndim), default=0)


def _flat(array: Array) -> Array:
    return array.reshape(len(array), -1)


def _plain(values: Array) -> Any:
    """The values of a row, of at most `VALUES`; one alone without a list."""
    found = [_short(value) for value in values[:VALUES]]
    return found[0] if len(found) == 1 else found


def _short(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _three_digits(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _three_digits(each)) for name, each in value.items())
    if isinstance(value, list):
        return tuple(map(_three_digits, value))
    return f"{value:.3g}" if isinstance(value, float) else value


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
