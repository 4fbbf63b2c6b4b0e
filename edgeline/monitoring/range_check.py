"""Values outside what a feature may be, found in each request before the model runs.

A bundle says what its raw features may be (see `edgeline.artifacts.ranges`). Almost all values are
inside, so that is asked first: of one row in plain Python numbers, of more in one comparison per
dtype (`_Stack`). What that finds is then looked at exactly. A missing value is never outside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.features import MISSING, MISSING_INT, missing
from edgeline.artifacts.ranges import FeatureRange, Ranges, words
from edgeline.formats.dtypes import BY_NAME, Array

OnOutside = Callable[
    [str, int, object, FeatureRange], None
]  # feature, rows, its first value, its range
_MOST_INT = 2**63 - 1
_AT_ONCE = 1 << 16  # numbers that are compared together: few enough to stay in a processor's cache
_SIZES = 8  # numbers of rows for which memory is kept
_MANY = 512  # texts from which a set of them is made first: most are one and the same object
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
            "out_of_range": json.dumps(list(self.rows), ensure_ascii=False, separators=(",", ":")),
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
        self._of_one = [
            (name, *bounds, MISSING[tensors[name].dtype]) for name, bounds in self._numbers.items()
        ]
        self._stack = _Stack({tensors[name]: bounds for name, bounds in self._numbers.items()})
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
        beyond = self._beyond_in_numbers(arrays)
        for name, allowed in self._texts.items():
            values = arrays[name].ravel().tolist()
            if not allowed.issuperset(values if len(values) < _MANY else set(values)):
                beyond.append(name)
        return self._rows(beyond, arrays) if beyond else NOTHING

    def _beyond_in_numbers(self, arrays: Mapping[str, Array]) -> list[str]:
        """Of the features that are numbers, those that may have a value outside."""
        beyond = []
        for name, least, most, absent in self._of_one:
            array = arrays[name]
            if array.size != 1:
                return self._stack.beyond(arrays)
            value = array.item()
            if not least <= value <= most and value == value and value != absent:
                beyond.append(name)
        return beyond

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


class _Stack:
    """Features whose numbers are compared together. Safe for threads.

    In memory the least values of a dtype stand before all its values and the most behind: each
    number of that row is then compared with the one that stands a stack further on, the least with
    the values and the values with the most. So there is one copy, and a comparison for each dtype,
    whatever the number of features; and the copy is aligned, which the numbers of a binary request
    are not. The bounds stay in that memory, which is kept, as making it takes longer than its use.
    """

    def __init__(self, bounds: Mapping[Tensor, tuple[float, float]]) -> None:
        made = (
            _group(dtype, bounds) for dtype in ("int64", "float32")
        )  # in which order both align
        self._groups = [group for group in made if group.names]
        self._names = [name for group in self._groups for name in group.names]
        self._first = len(self._groups[0].names) if self._groups else 0  # behind them are bounds
        values = sum(int(group.widths.sum()) for group in self._groups)  # of a row
        self._most_rows = max(1, _AT_ONCE // max(1, values))
        self._kept: dict[int, list[_Memory]] = {}  # by rows, what no thread is using

    def beyond(self, arrays: Mapping[str, Array]) -> list[str]:
        """The features that may have a value outside; none that has is left out."""
        given = [arrays[name] for name in self._names]
        rows = len(given[0]) if given[0].ndim else 1
        if rows <= self._most_rows:
            return self._beyond(given, rows)
        found: dict[str, None] = {}
        for start in range(0, rows, self._most_rows):
            part = [array[start : start + self._most_rows] for array in given]
            found |= dict.fromkeys(self._beyond(part, len(part[0])))
        return list(found)

    def _beyond(self, given: list[Any], rows: int) -> list[str]:
        kept = self._kept.get(rows)
        if kept is None:
            kept = self._make_room(rows)
        try:
            memory = kept.pop()
        except IndexError:  # the first time, or other threads use them
            memory = self._lay(rows)
        given.insert(self._first, memory.between)
        try:
            joined = b"".join(given)
        except TypeError:  # one is not contiguous: a program's own columns
            joined = b"".join(memoryview(each).tobytes() for each in given)
        if len(joined) != len(memory.values):  # whole windows, where rows are kept: exactly then
            return list(self._names)
        memory.values[:] = joined
        for low, high, outside in memory.compared:
            np.greater(low, high, outside)
        found = self._of(memory, rows) if 1 in memory.outside else []
        kept.append(memory)
        return found

    def _make_room(self, rows: int) -> list[_Memory]:
        """Where memory for so many rows is kept."""
        if len(self._kept) >= _SIZES:
            self._kept = {}
        return self._kept.setdefault(rows, [])

    def _of(self, memory: _Memory, rows: int) -> list[str]:
        """The features of the numbers that are outside, but for those that are missing."""
        found = []
        for group, (_, high, outside) in zip(self._groups, memory.compared, strict=True):
            places = np.flatnonzero(outside) % (len(high) // 2)
            places = places[high[places] != group.missing]
            ends = np.cumsum(rows * group.widths)
            found += [group.names[at] for at in np.unique(np.searchsorted(ends, places, "right"))]
        return found

    def _lay(self, rows: int) -> _Memory:
        """Memory for the values of so many rows, with their bounds."""
        bounds = [
            (np.repeat(group.least, times), np.repeat(group.most, times))
            for group in self._groups
            for times in [rows * group.widths]
        ]
        numbers = bytearray().join(
            part.tobytes() for least, most in bounds for part in (least, least, most)
        )
        outside = bytearray(2 * sum(len(least) for least, _ in bounds))
        compared, place, begun = [], 0, 0
        for least, _ in bounds:
            size = len(least)
            row = np.frombuffer(numbers, least.dtype, 3 * size, place)
            told = np.frombuffer(outside, bool, 2 * size, begun)
            compared.append((row[:-size], row[size:], told))
            place, begun = place + row.nbytes, begun + 2 * size
        within = memoryview(numbers)[bounds[0][0].nbytes : len(numbers) - bounds[-1][1].nbytes]
        between = bounds[0][1].tobytes() + bounds[1][0].tobytes() if len(bounds) > 1 else b""
        return _Memory(within, between, compared, outside)


@dataclass(frozen=True)
class _Group:
    """Features of one dtype.

    Attributes:
        names: theirs.
        widths: int64 [features], how many values of each a row has.
        least, most: [features] of the dtype.
        missing: the missing value.
    """

    names: list[str]
    widths: Array
    least: Array
    most: Array
    missing: Any


@dataclass(frozen=True)
class _Memory:
    """What one comparison of so many rows is made in.

    Attributes:
        values: where the bytes of all values go, and of the bounds between those of two dtypes.
        between: these bounds.
        compared: of each group, what is to be at most, what at least, and where it is not.
        outside: all of the last.
    """

    values: memoryview
    between: bytes
    compared: Sequence[tuple[Array, Array, Array]]
    outside: bytearray


def _group(dtype: str, bounds: Mapping[Tensor, tuple[float, float]]) -> _Group:
    of = _whole_bounds if dtype == "int64" else _float_bounds
    tensors = [tensor for tensor in bounds if tensor.dtype == dtype]
    limits = np.array([of(*bounds[tensor]) for tensor in tensors], BY_NAME[dtype].numpy)
    least, most = limits.reshape(-1, 2).T
    return _Group(
        [tensor.name for tensor in tensors],
        np.array([abs(math.prod(tensor.shape[1:])) for tensor in tensors], np.int64),
        *(least, most),
        MISSING[dtype],
    )


def _float_bounds(least: float, most: float) -> tuple[Any, Any]:
    """The float32 between which all float32 are that are between two numbers."""
    with np.errstate(over="ignore"):
        low, high = np.float32(least), np.float32(most)
    return (
        np.nextafter(low, np.float32(np.inf)) if float(low) < least else low,
        np.nextafter(high, np.float32(-np.inf)) if float(high) > most else high,
    )


def _whole_bounds(least: float, most: float) -> tuple[int, int]:
    """The int64 between which all int64 are that are between two numbers."""
    low = MISSING_INT if least == -math.inf else math.ceil(least)
    high = _MOST_INT if most == math.inf else math.floor(most)
    if low > _MOST_INT or high < MISSING_INT:
        return _MOST_INT, MISSING_INT  # none is
    return max(low, MISSING_INT), min(high, _MOST_INT)


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
