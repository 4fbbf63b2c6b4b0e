"""Values outside what a feature may be, found in each request before the model runs.

A bundle says what its raw features may be (see `edgeline.artifacts.ranges`). Almost all values are
inside, so that is asked first: of one row in plain Python numbers, some 0.2 microseconds per
feature, and of more in one comparison of all features together. A missing value is never outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.features import MISSING, missing
from edgeline.artifacts.ranges import FeatureRange, Ranges, words
from edgeline.formats.dtypes import Array
from edgeline.server.tensors.json import dumps

OnOutside = Callable[
    [str, int, object, FeatureRange], None
]  # feature, rows, its first value, its range
_EXACT = 2**53  # up to which float64 holds each whole number
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
        between, as in `"0,1,1"`: parameters of the Open Inference Protocol are not lists.
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
        tensors = {tensor.name: tensor for tensor in inputs}
        # as float64 they can be compared together; what that cannot hold is compared alone
        self._together = [
            (name, *bounds, MISSING[tensors[name].dtype])
            for name, bounds in self._numbers.items()
            if all(math.isinf(bound) or abs(bound) <= _EXACT for bound in bounds)
        ]
        self._names = [name for name, *_ in self._together]
        self._shaped = any(len(tensors[name].shape) != 2 for name in self._names)
        self._alone = [name for name in self._numbers if name not in self._names]
        widths = [abs(math.prod(tensors[name].shape[1:])) for name in self._names]
        self._least, self._most, self._missing = (
            np.repeat(np.array([each[place] for each in self._together], np.float64), widths)
            for place in (1, 2, 3)
        )
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
        beyond = self._beyond_together(arrays)
        for name in self._alone:
            values = arrays[name].ravel().tolist()
            least, most = self._numbers[name]
            # a NaN among them hides nothing: it loses each comparison, or is the result
            if not (least <= min(values) and max(values) <= most):
                beyond.append(name)
        for name, allowed in self._texts.items():
            if not allowed.issuperset(arrays[name].ravel().tolist()):
                beyond.append(name)
        return self._rows(beyond, arrays) if beyond else NOTHING

    def _beyond_together(self, arrays: Mapping[str, Array]) -> list[str]:
        """Of the features that are compared together, those with a value outside."""
        beyond = []
        for name, least, most, absent in self._together:
            array = arrays[name]
            if array.size != 1:
                return self._beyond_in_rows(arrays)
            value = array.item()
            if not least <= value <= most and value == value and value != absent:
                beyond.append(name)
        return beyond

    def _beyond_in_rows(self, arrays: Mapping[str, Array]) -> list[str]:
        given = [arrays[name] for name in self._names]
        if self._shaped:
            given = [array.reshape(len(array) if array.ndim else 1, -1) for array in given]
        values = np.concatenate(given, axis=1, dtype=np.float64, casting="unsafe")
        if values.shape[1] != len(self._least):  # whole windows, where rows are kept: exactly then
            return list(self._names)
        below, above = values < self._least, values > self._most
        if np.count_nonzero(below):
            below &= values != self._missing
        if not (np.count_nonzero(below) or np.count_nonzero(above)):
            return []
        places = np.repeat(np.arange(len(given)), [array.shape[1] for array in given])
        found = (below | above).any(axis=0)
        return [self._names[place] for place in np.unique(places[found])]

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
                f"{name[:100]!r} is {words(_shown(first))}, not {self._ranges[name]}"
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


def _fits(given: FeatureRange, tensor: Tensor) -> bool:
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
