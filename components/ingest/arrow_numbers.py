"""Arrow's columns of numbers as numpy's arrays, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeline.components.ingest.split import Numbers

Mask = npt.NDArray[np.bool_]


def to_codes(column: pa.Array) -> Numbers:
    """A number for each value, shape [rows]; none is missing."""
    coded = column.dictionary_encode().indices
    return np.frombuffer(coded.buffers()[1], np.int32, len(column)).astype(np.int64)


def to_ints(column: pa.Array) -> Numbers:
    return np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column)]


# from buffers, because a conversion by Arrow would import pandas


def to_array(values: npt.NDArray[np.integer], valid: Mask | None = None) -> pa.Array:
    flat = np.ascontiguousarray(values, np.int64).reshape(-1)
    bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.int64(), len(flat), [bits, pa.py_buffer(flat)])


def to_bools(values: Mask) -> pa.Array:
    bits = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])


def to_mask(values: pa.Array) -> Mask:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.bool_)


def scalar(value: int) -> pa.Scalar:
    return to_array(np.array([value]))[0]
