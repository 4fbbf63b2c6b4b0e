"""What goes to an MQTT broker beside alerts: answers of the models, and labels that came late.

`--mqtt-answers` says which answers: `all`, a share such as `0.1` of the requests, `none`, or
`changes`: rows that are decided otherwise than the row before (of a regression, whose value differs
from it in the first three digits). `taxi=all,camera=changes` says it of each model; others then
send none.

An answer is `{"device": "cam-1", "model": "taxi", "time": ..., "version": 7, "id": "trip-17",
"answers": [{"row": 0, "label": "yes", "score": 0.83}]}`: `id` is the request's, where the client
gave one, and `row` the row there. A regression has `value` in place of label and score, a model of
no known task `outputs`; more than `VALUES` values of a row are left out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
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
from edgeline.server.watching.mqtt_publisher import MqttMessage, MqttPublisher, UnwrittenMessage
from edgeline.server.watching.sent_bytes import INPUTS, size_of

CHANGES, ALL, NONE = "changes", "all", "none"
AT_ONCE = 500  # answers or labels in one message
VALUES = 16
_HEAD = 500  # bytes that a message which waits is taken to hold beside its arrays
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
            found = decided.of(outputs)
            rows = decided.changed(found) if rule.changes else np.arange(found.count)
            self._put(name, decided, found, rows, description.version)

        return observe

    def labels(self, model: str, found: Sequence[Mapping[str, Any]]) -> None:
        """Send labels that were joined: `id`, `label` and perhaps `row` of each."""
        head = {**self._head(model), "time": _now()}
        for first in range(0, len(found), AT_ONCE):
            payload = dumps({**head, "labels": list(found[first : first + AT_ONCE])})
            self._publisher.put(MqttMessage(model, "labels", payload))

    def _put(
        self, model: str, decided: Decided, found: Decisions, rows: Array, version: int
    ) -> None:
        """Queue answers as arrays: they become JSON in the publisher's thread."""
        head: dict[str, Any] = {**self._head(model), "time": _now(), "version": version}
        if identity := tracing.named():
            head["id"] = identity
        for first in range(0, len(rows), AT_ONCE):
            part = rows[first : first + AT_ONCE]
            columns = {name: column[part] for name, column in found.columns.items()}
            size = _HEAD + part.nbytes + size_of(columns)

            def write(part: Array = part, columns: Arrays = columns) -> bytes:
                return dumps({**head, "answers": decided.told(part, columns)})

            self._publisher.put(UnwrittenMessage(model, "answers", write, size))

    def _head(self, model: str) -> dict[str, Any]:
        """Whose message it is: a signature covers it with the payload, and no topic."""
        return {"device": self._publisher.device, "model": model}


@dataclass(frozen=True)
class Decisions:
    """What outputs say of `count` rows.

    Attributes:
        columns: [rows, ...] each: `label` (its place) and `score`, or `value`, or of a model of no
            known task its small outputs by name, [rows, at most `VALUES`].
    """

    columns: Arrays
    count: int


class Decided:
    """What a version's outputs say, row by row, and whether it is something else than before."""

    def __init__(self, description: Description) -> None:
        outputs = description.signature.outputs
        self._outputs: tuple[Tensor, ...] = tuple(outputs)
        task = description.bundle.task if description.bundle is not None else ""
        self._task = task if any(each.name == PREDICTION for each in outputs) else ""
        self._labels, self._threshold = description.labels, description.decision_threshold
        self._last: dict[str, Array] | None = None

    def of(self, outputs: Arrays) -> Decisions:
        """What the outputs say, in the request's thread: with numpy, and no object for each row."""
        named = tuple(each for each in self._outputs if each.name in outputs)
        real = dequantise({each.name: outputs[each.name] for each in named}, named)
        count = min((len(array) for array in real.values() if array.ndim), default=0)
        flat = {name: _flat(array[:count]) for name, array in real.items() if array.ndim}
        if self._task == BINARY:
            scores = flat[PREDICTION][:, -1]
            return Decisions({"label": says_yes(scores, self._threshold), "score": scores}, count)
        if self._task == MULTICLASS:
            scores = flat[PREDICTION]
            places = scores.argmax(axis=1)
            return Decisions({"label": places, "score": scores[np.arange(count), places]}, count)
        if self._task == "regression":
            return Decisions({"value": flat[PREDICTION][:, :VALUES]}, count)
        small = {name: array for name, array in flat.items() if array.shape[1] <= VALUES}
        return Decisions(small, count)

    def changed(self, found: Decisions) -> Array:
        """The rows that are decided otherwise than the one before, [rows] int64; of the first that
        of the request before. Two workers may take turns at that, so that a change is sent twice or
        late."""
        differs = np.zeros(found.count, bool)
        if not found.count:
            return differs.nonzero()[0]
        is_class = self._task in (BINARY, MULTICLASS)
        compared = {"label": found.columns["label"]} if is_class else found.columns
        keys = {name: _three_digits(column) for name, column in compared.items()}
        last, self._last = self._last, {name: key[-1].copy() for name, key in keys.items()}
        differs[0] = last is None or any(
            name not in last or not np.array_equal(last[name], key[0]) for name, key in keys.items()
        )
        for key in keys.values():
            differs[1:] |= _flat(np.asarray(key[1:] != key[:-1], bool)).any(axis=1)
        return differs.nonzero()[0]

    def told(self, rows: Array, columns: Arrays) -> list[dict[str, Any]]:
        """The answers of some rows, as they are sent; `columns` are of these rows alone."""
        texts = {name: column.tolist() for name, column in columns.items()}
        found = []
        for place, row in enumerate(rows.tolist()):
            told = {name: _plain(values[place]) for name, values in texts.items()}
            if self._task in (BINARY, MULTICLASS):
                told["label"] = self._label(int(told["label"]))
            elif self._task != "regression":
                told = {"outputs": told}
            found.append({"row": row, **told})
        return found

    def _label(self, place: int) -> Any:
        names = self._labels
        return names[place] if names is not None and place < len(names) else place


def _flat(array: Array) -> Array:
    """[rows, values], also of no rows and of no values."""
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _plain(value: Any) -> Any:
    """A value, or the values of a row; one alone without a list."""
    if isinstance(value, list):
        found = [_plain(each) for each in value]
        return found[0] if len(found) == 1 else found
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _three_digits(values: Array) -> Array:
    """What is equal where floats have the same first three digits: their digits and exponent as one
    int64. What is not finite is all the same; other values stay as they are."""
    if values.dtype.kind != "f":
        return values
    real = values.astype(np.float64)
    is_finite = np.isfinite(real)
    real[~is_finite] = 0.0
    size = np.abs(real)
    exponents = np.floor(np.log10(np.where(size > 0, size, 1.0)))
    digits = np.rint(real / 10.0 ** np.maximum(exponents - 2, -300))
    is_ten = np.abs(digits) >= 1000  # 999.6 is 1.00e3
    digits, exponents = np.where(is_ten, digits / 10, digits), exponents + is_ten
    found = np.rint(digits).astype(np.int64) * 1000 + exponents.astype(np.int64)
    return np.where(is_finite, found, np.iinfo(np.int64).max)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
