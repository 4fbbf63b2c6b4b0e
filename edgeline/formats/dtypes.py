"""Arrays of any dtype, and the names that protocols give to dtypes.

| numpy   | Open Inference Protocol | TensorFlow | bytes |
|---------|-------------------------|------------|-------|
| float32 | FP32                    | DT_FLOAT   | 4     |
| string (object array of bytes) | BYTES | DT_STRING | u32 length + bytes |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]  # of any dtype, where the model or the file says which


@dataclass(frozen=True)
class DType:
    """One dtype: `numpy` is the little-endian dtype on the wire, object for strings."""

    name: str
    numpy: np.dtype[Any]
    v2: str
    tensorflow: str
    number: int  # of tensorflow.DataType


_ROWS = (
    ("float32", "<f4", "FP32", "DT_FLOAT", 1),
    ("float64", "<f8", "FP64", "DT_DOUBLE", 2),
    ("int32", "<i4", "INT32", "DT_INT32", 3),
    ("uint8", "u1", "UINT8", "DT_UINT8", 4),
    ("int16", "<i2", "INT16", "DT_INT16", 5),
    ("int8", "i1", "INT8", "DT_INT8", 6),
    ("string", object, "BYTES", "DT_STRING", 7),
    ("int64", "<i8", "INT64", "DT_INT64", 9),
    ("bool", "?", "BOOL", "DT_BOOL", 10),
    ("uint16", "<u2", "UINT16", "DT_UINT16", 17),
    ("float16", "<f2", "FP16", "DT_HALF", 19),
    ("uint32", "<u4", "UINT32", "DT_UINT32", 22),
    ("uint64", "<u8", "UINT64", "DT_UINT64", 23),
)
BY_NAME = {row[0]: DType(row[0], np.dtype(row[1]), *row[2:]) for row in _ROWS}
BY_V2 = {dtype.v2: dtype for dtype in BY_NAME.values()}
BY_NUMBER = {dtype.number: dtype for dtype in BY_NAME.values()}
_V2 = {dtype.numpy: dtype.v2 for dtype in BY_NAME.values()}  # numpy takes long to name a dtype


def v2_of(dtype: np.dtype[Any]) -> str:
    """The Open Inference Protocol's name of an array's dtype; that of any strings is BYTES."""
    return "BYTES" if dtype.kind in "OSU" else _V2[dtype]
