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

    def arrays(self, values: Sequence[Any]) -> list[Array]:
        """Values without a fault, [rows, ...]: one array, or of rows that differ one for each
        size."""
        lists = [each if isinstance(each, list) else [each] for each in values]
        if self.width:
            return [self._array(lists, self.tensor.shape[1:])]
        sizes: dict[int, list[Any]] = {}
        for each in lists:
            sizes.setdefault(len(each), []).append(each)
        return [self._array(rows, (size,)) for size, rows in sizes.items() if size]

    def _array(self, lists: Sequence[Sequence[Any]], shape: tuple[int, ...]) -> Array:
        dtype, absent = self.tensor.dtype, MISSING.get(self.tensor.dtype, math.nan)
        flat = [absent if each is None else each for row in lists for each in row]
        if dtype == "string":
            found = np.empty(len(flat), object)
            found[:] = [x.encode(errors="replace") if isinstance(x, str) else x for x in flat]
        else:
            with np.errstate(over="ignore"):  # to infinity, as the model's own dtype has it
                found = np.array(flat, np.float64 if dtype in _FLOATS else self._numpy)
                found = found.astype(self._numpy)
        return found.reshape(len(lists), *shape)

    @cached_property
    def _numpy(self) -> np.dtype[Any]:
        return BY_NAME[self.tensor.dtype].numpy

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


def fault_of(columns: Mapping[str, PayloadColumn], row: Mapping[str, Any]) -> str:
    """Why a row cannot be one of the model's, naming its column; "" where it can."""
    for key, column in columns.items():
        if key in row and (why := column.fault(row[key])):
            return f"{key!r} {why}"
    return ""
