"""Rows as bytes, and the hash of these that never changes.

    text = the row's values as bytes with 0x1F between them, or one column's value alone
    hash = BLAKE2b of the text with a digest of 8 bytes, read as a big-endian number
           (in Python: int(hashlib.blake2b(text, digest_size=8).hexdigest(), 16))

A value's bytes are its text (CSV: the cell as it stands; an integer in decimal digits), a
floating-point number's its 8 bytes as little-endian IEEE 754 double, a list's those
of its values with 0x1F between them; a missing value has none.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

SEPARATOR = b"\x1f"


def row_bytes(rows: pa.RecordBatch) -> pa.Array:
    """Each row as the bytes that are hashed (large_binary, no nulls)."""
    return joined([value_bytes(column) for column in rows.columns])


def joined(columns: Sequence[pa.Array]) -> pa.Array:
    """Values side by side, with 0x1F between them."""
    return pc.binary_join_element_wise(
        *columns, _separator(), null_handling="replace", null_replacement=""
    )


@functools.cache
def _separator() -> pa.Scalar:
    # pa.scalar would import pandas, which takes longer than a small ingest
    byte = pa.Array.from_buffers(pa.binary(1), 1, [None, pa.py_buffer(SEPARATOR)])
    return byte.cast(pa.binary()).cast(pa.large_binary())[0]


def hashes(values: pa.Array) -> npt.NDArray[np.uint64]:
    """The hash of each of some bytes (large_binary, no nulls), shape [values]."""
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    view = memoryview(data or b"")
    digests = b"".join(
        blake2b(view[start:end], digest_size=8).digest()
        for start, end in itertools.pairwise(ends.tolist())
    )
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def value_bytes(column: pa.Array) -> pa.Array:
    """A column's values as large_binary, nulls kept."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        return _list_bytes(column)
    if pa.types.is_floating(kind):
        doubles = column.cast(pa.float64())
        return doubles.view(pa.binary(8)).cast(pa.binary()).cast(pa.large_binary())
    if pa.types.is_integer(kind):
        column = column.cast(pa.string())
    return column.cast(pa.large_binary())


def _list_bytes(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_list(kind):
        lengths = np.from_dlpack(pc.fill_null(pc.list_value_length(column), 0))
        values, ends = column.flatten(), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    else:
        width = kind.list_size
        values = column.values.slice(column.offset * width, len(column) * width)
        ends = np.arange(0, len(values) + 1, width, dtype=np.int64)
    offsets = pa.Array.from_buffers(pa.int64(), len(ends), [None, pa.py_buffer(ends)])
    lists = pa.LargeListArray.from_arrays(offsets, joined([value_bytes(values)]))
    return pc.binary_join(lists, _separator())
