"""Labels that come late, as JSON lines: which answer, and what was true.

    {"id": "trip-17", "label": 1}
    {"id": "trip-18", "label": [0, 1, 1]}            one for each row of the request
    {"id": "trip-19", "row": 4, "label": "Blue Cab"}
    {"id": "trip-20", "label": 12.5, "model": "taxi"}

`id` is the request's as the client named it. A label is a number, or the name of one of the model's
classes; of a binary model it may be true or false.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from edgeline.artifacts.calibration import BINARY, MULTICLASS
from edgeline.errors import EdgelineError, first_line
from edgeline.monitoring.kept_answers import key_of, keys_of

LONGEST = 1 << 16  # bytes of a line
PIECE = 1 << 16  # labels that are joined at once
MOST_ROWS = 1 << 20  # of a request
RESULTS = ("joined", "thinned", "unknown", "repeated", "refused")
_TOLD = 5
_MOST = 1e38  # of a label, as answers are kept in float32
_FIELDS = {"id", "label", "row", "model"}


@dataclass
class LabelResults:
    """How many labels there were by result (see `RESULTS`), and why some were refused."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def refuse(self, where: str, why: str) -> None:
        self.counts["refused"] += 1
        if len(self.problems) < _TOLD:
            self.problems.append(f"{where}: {why}")

    def to_json(self) -> dict[str, object]:
        return {**{name: self.counts[name] for name in RESULTS}, "problems": self.problems}


@dataclass(frozen=True)
class LabelLine:
    """What a line is of: the keys of its rows (see `kept_answers.keys_of`), and the label of each
    as it was sent, which each version reads for itself."""

    keys: tuple[int, ...]
    values: tuple[Any, ...]


def read_line(line: Mapping[str, Any]) -> LabelLine:
    """The labels of a line.

    Raises:
        EdgelineError: what is wrong with it, without a full stop.
    """
    if unknown := sorted(line.keys() - _FIELDS):
        raise EdgelineError(f"{unknown[0][:100]!r} is not a field: give id, label, row or model")
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
    return LabelLine(tuple(keys.tolist()), tuple(values))


@dataclass(frozen=True)
class LabelReader:
    """Reads the labels of a version.

    Attributes:
        task: of its bundle.
        classes: their names, or None.
        size: values of a row's prediction; of a multiclass model as many as it has classes.
    """

    task: str
    classes: tuple[str, ...] | None
    size: int = 1

    def read(self, values: Sequence[Any]) -> tuple[float, ...]:
        """What is true of each row.

        Raises:
            EdgelineError: what is wrong with a label, without a full stop.
        """
        return tuple(map(self._value, values))

    def _value(self, value: Any) -> float:
        if isinstance(value, str) and self.classes is not None:
            if value in self.classes:
                return float(self.classes.index(value))
            raise EdgelineError(f"the label {value[:100]!r} is not a class of the model")
        if not isinstance(value, (int, float)) or not -_MOST < value < _MOST:
            raise EdgelineError(f"the label {str(value)[:100]!r} is not a number")
        sure = self.task == BINARY and isinstance(value, bool)
        if self.task in (BINARY, MULTICLASS) and self._named_by_numbers and not sure:
            raise EdgelineError(
                f"the label {value} may be a class's name or its place, as classes have numbers "
                "for names: send its name as a text"
            )
        if self.task == BINARY and value not in (0, 1):
            raise EdgelineError(f"the label {value} is neither 0 nor 1")
        if self.task == MULTICLASS and (isinstance(value, bool) or value != int(value)):
            raise EdgelineError(f"the label {value} is not a class's number")
        if self.task == MULTICLASS and not 0 <= value < self.size:
            raise EdgelineError(f"the label {value} is not one of {self.size} classes, from 0")
        return float(value)

    @cached_property
    def _named_by_numbers(self) -> bool:
        """Whether a class's name is the number of another class's place, or of none."""
        places = enumerate(self.classes or ())
        return any(_number(name) not in (None, place) for place, name in places)


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


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
