"""Values of payloads as the arrays that the model took and gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.features import MISSING
from edgeline.formats.dtypes import BY_NAME, Array

PREFIX = "predicted_"  # of outputs
_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class PayloadColumn:
    """A tensor in payloads.

    Attributes:
        key: what it is called in a row.
        side: `inputs` or `outputs`.
    """

    key: str
    side: str
    tensor: Tensor

    @cached_property
    def width(self) -> int:
        """Values per row; 0 where rows differ."""
        sizes = self.tensor.shape[1:]
        return math.prod(sizes) if all(size > 0 for size in sizes) else 0

    def fault(self, value: Any) -> str:
        """Why a value cannot be one of the tensor's; "" where it can."""
        if self.width == 1 and not isinstance(value, list):
            return "" if self._fits(value) else self._wanted(value)
        if not isinstance(value, list):
            if self.width:
                return f"is not a list of {self.width} values"
            value = [value]
        if self.width and len(value) != self.width:
            return f"has {len(value)} values, not {self.width}"
        wrong = next((each for each in value if not self._fits(each)), None)
        return "" if wrong is None and all(map(self._fits, value)) else self._wanted(wrong)

    def fit(self, values: Sequence[Any]) -> bool:
        """Whether no value has a fault: quickly, where these are of the usual types."""
        kinds = set(map(type, values))
        usual = self._usual
        if self.width != 1 or not kinds <= usual:
            return not any(map(self.fault, values))
        if kinds & {int}:
            whole = [each for each in values if each is not None]
            return bool(self._limits[0] <= min(whole) and max(whole) <= self._limits[1])
        return True

    def arrays(self, values: Sequence[Any]) -> list[Array]:
        """Values without a fault, [rows, ...]: one array, or of rows that differ one for each
        size."""
        if self.width == 1 and list not in set(map(type, values)):
            return [self._array(values, (len(values), *self.tensor.shape[1:]))]
        lists = [each if isinstance(each, list) else [each] for each in values]
        if self.width:
            flat = [each for row in lists for each in row]
            return [self._array(flat, (len(lists), *self.tensor.shape[1:]))]
        sizes: dict[int, list[Any]] = {}
        for each in lists:
            sizes.setdefault(len(each), []).extend(each)
        return [
            self._array(flat, (len(flat) // size, size)) for size, flat in sizes.items() if size
        ]

    def _array(self, values: Sequence[Any], shape: tuple[int, ...]) -> Array:
        dtype, absent = self.tensor.dtype, MISSING.get(self.tensor.dtype, math.nan)
        flat = [absent if each is None else each for each in values]
        if dtype == "string":
            found = np.empty(len(flat), object)
            found[:] = [x.encode(errors="replace") if isinstance(x, str) else x for x in flat]
        else:
            with np.errstate(over="ignore"):  # to infinity, as the model's own dtype has it
                found = np.array(flat, np.float64 if dtype in _FLOATS else self._numpy)
                found = found.astype(self._numpy)
        return found.reshape(shape)

    @cached_property
    def _numpy(self) -> np.dtype[Any]:
        return BY_NAME[self.tensor.dtype].numpy

    @cached_property
    def _usual(self) -> set[type]:
        """The types of values of which `fit` need not look at each."""
        dtype, nothing = self.tensor.dtype, type(None)
        if dtype in _FLOATS:
            return {float, nothing}
        if dtype == "bool":
            return {bool}
        return {str if dtype == "string" else int} | ({nothing} if dtype in MISSING else set())

    @cached_property
    def _limits(self) -> tuple[int, int]:
        found = np.iinfo(self._numpy)
        return int(found.min), int(found.max)

    def _fits(self, value: Any) -> bool:
        dtype = self.tensor.dtype
        if value is None:
            return dtype in MISSING or dtype in _FLOATS
        if dtype == "string":
            return isinstance(value, str)
        if dtype == "bool":
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if dtype in _FLOATS:
            return isinstance(value, float) or abs(value) < 1 << 1000
        return isinstance(value, int) and self._limits[0] <= value <= self._limits[1]

    def _wanted(self, value: Any) -> str:
        shown = repr(value)
        return f"is {shown[:60]}, not of the type {self.tensor.dtype}"


def columns_of(signature: Signature) -> dict[str, PayloadColumn]:
    """The columns of payloads by their keys."""
    found = [PayloadColumn(each.name, "inputs", each) for each in signature.inputs]
    found += [PayloadColumn(PREFIX + each.name, "outputs", each) for each in signature.outputs]
    return {each.key: each for each in found}


def faults_of(
    columns: Mapping[str, PayloadColumn], rows: Sequence[Mapping[str, Any]]
) -> dict[int, str]:
    """Why rows cannot be the model's, by their places, naming the column; those that can are not
    there."""
    found: dict[int, str] = {}
    for key, column in columns.items():
        if column.fit([row[key] for row in rows if key in row]):
            continue
        for place, row in enumerate(rows):
            if place not in found and key in row and (why := column.fault(row[key])):
                found[place] = f"{key!r} {why}"
    return found
