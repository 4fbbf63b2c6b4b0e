"""Which split a row belongs to: decided by the row alone, by a hash that never changes.

    text  = the row's values as bytes with 0x1F between them, or the key column's value alone
    hash  = BLAKE2b of the text with a digest of 8 bytes, read as a big-endian number h
            (in Python: int(hashlib.blake2b(text, digest_size=8).hexdigest(), 16))
    split = the first, in alphabetical order, with h < 2**64 * (weights up to it) / (all weights)

A value's bytes are its text (CSV: the cell as it stands; an integer in decimal digits), a
floating-point number's its 8 bytes as little-endian IEEE 754 double, a fixed-size list's those
of its values with 0x1F between them; a missing value has none. So a row falls into the same
split in whatever file, order or company it comes; rows that are equal, or have an equal key,
stay together, and so do all rows whose key is missing.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from edgeline.errors import EdgelineError

SEPARATOR = b"\x1f"


@dataclass(frozen=True)
class Splits:
    """Split names in alphabetical order, and the uint64 hash below which each but the last ends.

    The order is that of the names because a mapping's order is lost on the way
    through a pipeline's parameters.
    """

    names: tuple[str, ...]
    bounds: tuple[int, ...]

    @classmethod
    def from_ratios(cls, ratios: Mapping[str, float]) -> Splits:
        """Splits with shares in proportion to some weights.

        Raises:
            EdgelineError: no split, a bad name, or a weight that is not above 0.
        """
        if not ratios:
            raise EdgelineError('split_ratios is empty: give for example {"train": 2, "eval": 1}.')
        for name, weight in ratios.items():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise EdgelineError(
                    f"split_ratios names a split {name!r}: use letters, digits, - and _ only."
                )
            number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
            if not (number and math.isfinite(weight) and weight > 0):
                raise EdgelineError(
                    f"split_ratios gives {name!r} the weight {weight!r}: give a number above 0."
                )
        names = tuple(sorted(ratios))
        weights = [Fraction(ratios[name]) for name in names]
        sums = list(itertools.accumulate(weights))
        return cls(names, tuple(int(2**64 * part / sums[-1]) for part in sums[:-1]))

    def assign(self, rows: pa.RecordBatch, key: str = "") -> npt.NDArray[np.int64]:
        """The number of each row's split, shape [rows].

        Raises:
            EdgelineError: there is no column `key`.
        """
        if not key:
            hashes = _hashes(row_bytes(rows))
        elif key in rows.schema.names:
            values = _joined([_as_bytes(rows.column(key))]).dictionary_encode()
            places = np.frombuffer(values.indices.buffers()[1], np.int32, len(rows))
            hashes = _hashes(values.dictionary)[places]
        else:
            raise EdgelineError(
                f"split_key names a column {key!r}, but the data has "
                f"{', '.join(rows.schema.names)}: name one of them."
            )
        return np.searchsorted(np.array(self.bounds, np.uint64), hashes, side="right")


def row_bytes(rows: pa.RecordBatch) -> pa.Array:
    """Each row as the bytes that are hashed (large_binary, no nulls)."""
    return _joined([_as_bytes(column) for column in rows.columns])


def _joined(columns: Sequence[pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(
        *columns, _separator(), null_handling="replace", null_replacement=""
    )


@functools.cache
def _separator() -> pa.Scalar:
    # pa.scalar would import pandas, which takes longer than a small ingest
    byte = pa.Array.from_buffers(pa.binary(1), 1, [None, pa.py_buffer(SEPARATOR)])
    return byte.cast(pa.binary()).cast(pa.large_binary())[0]


def _hashes(values: pa.Array) -> npt.NDArray[np.uint64]:
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    view = memoryview(data or b"")
    digests = b"".join(
        blake2b(view[start:end], digest_size=8).digest()
        for start, end in itertools.pairwise(ends.tolist())
    )
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def _as_bytes(column: pa.Array) -> pa.Array:
    """A column's values as large_binary, nulls kept."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        return _list_bytes(column)
    if pa.types.is_floating(kind):
        doubles = column.cast(pa.float64())
        return doubles.view(pa.binary(8)).cast(pa.binary()).cast(pa.large_binary())
    if pa.types.is_integer(kind):
        column = column.cast(pa.string())
    return column.cast(pa.large_binary())


def _list_bytes(column: pa.Array) -> pa.Array:
    width = column.type.list_size
    values = column.values.slice(column.offset * width, len(column) * width)
    values = _joined([_as_bytes(values)])
    ends = np.arange(0, len(values) + 1, width, dtype=np.int64)
    offsets = pa.Array.from_buffers(pa.int64(), len(ends), [None, pa.py_buffer(ends)])
    lists = pa.LargeListArray.from_arrays(offsets, values)
    return pc.binary_join(lists, _separator())
