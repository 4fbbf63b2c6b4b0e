"""Labels that come late, as JSON lines: which answer, and what was true.

    {"id": "trip-17", "label": 1}
    {"id": "trip-18", "label": [0, 1, 1]}            one for each row of the request
    {"id": "trip-19", "row": 4, "label": "Blue Cab"}
    {"id": "trip-20", "label": 12.5, "model": "taxi"}

`id` is the request's as the client named it. A label is a number, true or false, or the name of one
of the model's classes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeline.artifacts.calibration import BINARY, MULTICLASS
from edgeline.errors import EdgelineError, first_line
from edgeline.server.watching.kept_answers import key_of, keys_of

LONGEST = 1 << 16  # bytes of a line
PIECE = 1 << 16  # labels that are joined at once
MOST_ROWS = 1 << 20  # of a request
_TOLD = 5
_MOST = 1e38  # of a label, as answers are kept in float32
_FIELDS = {"id", "label", "row", "model"}


@dataclass
class LabelResults:
    """How many labels were joined, unknown, repeated or refused, and why some were refused."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def refuse(self, where: str, why: str) -> None:
        self.counts["refused"] += 1
        if len(self.problems) < _TOLD:
            self.problems.append(f"{where}: {why}")

    def to_json(self) -> dict[str, object]:
        names = ("joined", "unknown", "repeated", "refused")
        return {**{name: self.counts[name] for name in names}, "problems": self.problems}


@dataclass(frozen=True)
class LateLabels:
    """The labels of one line: the keys of their rows (see `kept_answers.keys_of`), and what is
    true of each."""

    keys: tuple[int, ...]
    truth: tuple[float, ...]


@dataclass(frozen=True)
class LabelReader:
    """Reads the labels of a model: `task`, and the names of its classes or None."""

    task: str
    classes: tuple[str, ...] | None

    def read(self, line: Mapping[str, Any]) -> LateLabels:
        """The labels of a line.

        Raises:
            EdgelineError: what is wrong with it, without a full stop.
        """
        if unknown := sorted(line.keys() - _FIELDS):
            raise EdgelineError(
                f"{unknown[0][:100]!r} is not a field: give id, label, row or model"
            )
        identity, row, label = line.get("id"), line.get("row"), line.get("label")
        if not isinstance(identity, str) or not identity:
            raise EdgelineError("'id' is not the text of a request's id")
        if "label" not in line:
            raise EdgelineError("it has no 'label'")
        if row is not None and not (type(row) is int and 0 <= row < MOST_ROWS):
            raise EdgelineError("'row' is not a row's number, from 0")
        if isinstance(label, list) and row is not None:
            raise EdgelineError("'label' is a list of all rows, but 'row' names one: leave it out")
        values = label if isinstance(label, list) else [label]
        first = row or 0
        keys = keys_of(key_of(identity), np.arange(first, first + len(values)))
        return LateLabels(tuple(keys.tolist()), tuple(map(self._value, values)))

    def _value(self, value: Any) -> float:
        if isinstance(value, str) and self.classes is not None:
            if value in self.classes:
                return float(self.classes.index(value))
            raise EdgelineError(f"the label {value[:100]!r} is not a class of the model")
        if not isinstance(value, (int, float)) or not -_MOST < value < _MOST:
            raise EdgelineError(f"the label {str(value)[:100]!r} is not a number")
        if self.task == BINARY and value not in (0, 1):
            raise EdgelineError(f"the label {value} is neither 0 nor 1")
        if self.task == MULTICLASS and (value < 0 or value != int(value)):
            raise EdgelineError(f"the label {value} is not a class's number")
        return float(value)


def lines_of(data: Iterable[bytes], results: LabelResults, where: str) -> Iterator[tuple[str, Any]]:
    """Each line that is a JSON object, with where it stands; others are refused, empty ones not."""
    for number, line in enumerate(data, 1):
        if not line.strip():
            continue
        place = f"{where} {number}"
        if len(line) > LONGEST:
            results.refuse(place, f"it has more than {LONGEST:,} bytes")
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            results.refuse(place, f"it is not JSON ({first_line(error)})")
            continue
        if not isinstance(found, dict):
            results.refuse(place, "it is not a JSON object")
            continue
        yield place, found
