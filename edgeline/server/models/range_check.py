"""Values outside what a feature may be, found in each request before the model runs.

A bundle says what its raw features may be (see `edgeline.artifacts.ranges`). Almost all values are
inside, so that is asked first, of plain Python numbers where there are few: some 0.2 microseconds a
feature. A missing value is never outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.features import missing
from edgeline.artifacts.ranges import Range, Ranges
from edgeline.formats.dtypes import Array
from edgeline.server.tensors.json import dumps

OnOutside = Callable[[str, int, object, Range], None]  # feature, rows, its first value, its range
_FEW = 64  # values, up to which Python's own numbers are faster than numpy
_NAMED = 3  # rows of a feature that a refusal names
_SHOWN = 60  # characters of a value


@dataclass(frozen=True)
class Outside:
    """What was found in a request.

    Attributes:
        rows: the rows that have a value outside its range, by feature.
        count: how many rows were asked.
    """

    rows: Mapping[str, Sequence[int]]
    count: int

    @property
    def parameters(self) -> dict[str, str]:
        """What an answer is told with: the features, and 0 or 1 for each row; empty for nothing.

        `out_of_range` has the features as a JSON list, and `out_of_range_rows` the rows with commas
        between, as in `"0,1,1"`: parameters of the Open Inference Protocol are no lists.
        """
        if not self.rows:
            return {}
        marked = ["0"] * self.count
        for places in self.rows.values():
            for place in places:
                marked[place] = "1"
        return {
            "out_of_range": dumps(list(self.rows)).decode(),
            "out_of_range_rows": ",".join(marked),
        }


NOTHING = Outside({}, 0)


class RangeCheck:
    """The ranges of one version. Safe for threads.

    Attributes:
        refuse: whether such rows are refused; else they are told beside the answer.
    """

    def __init__(
        self, ranges: Ranges, inputs: Sequence[Tensor], refuse: bool, on_outside: OnOutside
    ) -> None:
        """
        Args:
            inputs: those of the model that take raw features.
            on_outside: is told of each feature with such values in a request.
        """
        self.refuse, self._on_outside = refuse, on_outside
        self._ranges = {
            tensor.name: ranges[tensor.name]
            for tensor in inputs
            if tensor.name in ranges and _fits(ranges[tensor.name], tensor)
        }
        self._numbers = {
            name: (
                -math.inf if given.least is None else given.least,
                math.inf if given.most is None else given.most,
            )
            for name, given in self._ranges.items()
            if given.values is None
        }
        self._texts = {
            name: frozenset((b"", *(value.encode() for value in given.values)))
            for name, given in self._ranges.items()
            if given.values is not None
        }

    def outside(self, arrays: Mapping[str, Array]) -> Outside:
        """The rows that have a value outside its range, by feature; they are counted.

        Args:
            arrays: what was asked, checked, [rows, ...] each.
        """
        beyond: list[str] = []
        for name, (least, most) in self._numbers.items():
            array = arrays[name]
            if array.size == 1:
                inside = least <= array.item() <= most
            elif array.size <= _FEW:
                values = array.ravel().tolist()
                # a NaN among them hides nothing: it loses each comparison, or is the result
                inside = least <= min(values) and max(values) <= most
            else:
                inside = bool(least <= array.min() and array.max() <= most)
            if not inside:
                beyond.append(name)
        for name, allowed in self._texts.items():
            if not allowed.issuperset(arrays[name].ravel().tolist()):
                beyond.append(name)
        return self._rows(beyond, arrays) if beyond else NOTHING

    def refusal(
        self, outside: Outside, arrays: Mapping[str, Array], places: Sequence[int] | None = None
    ) -> str:
        """Why rows are refused; `places` are the rows' numbers in the request, if others."""
        told = []
        for name, rows in outside.rows.items():
            values, beyond = self._beyond(name, arrays[name])
            first = values[rows[0]][beyond[rows[0]]][0]
            numbers = [str(row if places is None else places[row]) for row in rows[:_NAMED]]
            more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
            told.append(
                f"instance{'s' * (len(rows) > 1)} {', '.join(numbers)}{more} (from 0): "
                f"{name[:100]!r} is {_shown(first)!r}, not {self._ranges[name]}"
            )
        sentence = "; ".join(told)
        return f"{sentence[:1].upper()}{sentence[1:]}: correct the value, or leave the row out."

    def _rows(self, names: Sequence[str], arrays: Mapping[str, Array]) -> Outside:
        """The rows of features in which something was found, unless it is a missing value."""
        found: dict[str, list[int]] = {}
        count = 0
        for name in names:
            values, beyond = self._beyond(name, arrays[name])
            count = len(values)
            if rows := np.flatnonzero(beyond.any(axis=1)).tolist():
                found[name] = rows
                self._on_outside(name, len(rows), _shown(values[beyond][0]), self._ranges[name])
        return Outside(found, count) if found else NOTHING

    def _beyond(self, name: str, array: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Values [rows, n] of a feature, and which of them are outside."""
        values = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
        if name in self._texts:
            allowed = self._texts[name]
            return values, np.array([[v not in allowed for v in row] for row in values.tolist()])
        least, most = self._numbers[name]
        # a limit may be beyond what float32 holds
        exact = values.astype(np.float64) if values.dtype.kind == "f" else values
        beyond = (exact < least) | (exact > most)
        absent = missing(values)
        return values, beyond if absent is None else beyond & ~absent


def _fits(given: Range, tensor: Tensor) -> bool:
    """Whether a range is of such values as an input holds; another says nothing about it."""
    if tensor.dtype == "string":
        return given.values is not None
    return tensor.dtype in ("float32", "int64") and given.values is None


def _shown(value: Any) -> int | float | str:
    """A value as JSON takes it, and a person reads it."""
    if isinstance(value, bytes):
        text = value.decode(errors="backslashreplace")
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    number: int | float = value.item() if isinstance(value, np.generic) else value
    return number if math.isfinite(number) else str(number)
