"""How rows reach a runtime: in pieces, so that its memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgeline.formats.dtypes import Array

PIECE_ROWS, PIECE_BYTES = 1024, 4 << 20  # of what a runtime gets at once

Arrays = Mapping[str, Array]


def are_many(arrays: Arrays) -> bool:
    """Whether a model that takes any number of rows gets these in more than one piece."""
    rows = len(next(iter(arrays.values())))
    return rows > 1 and rows > _step(arrays, rows)


def pieces(arrays: Arrays, fixed: int = 0) -> Iterator[tuple[dict[str, Array], int]]:
    """Named arrays [rows, ...] piece by piece, contiguous, each with its number of real rows.

    A model with a fixed batch gets pieces of that size: one that is short is filled up with its
    last row, which any model takes that took it once. What is answered beyond the real rows is
    to be cut off.

    Args:
        fixed: the rows that the model takes at once; 0 or less (as -1 in a shape) for any, then
            a piece has at most `PIECE_ROWS` and about `PIECE_BYTES`.
    """
    rows = len(next(iter(arrays.values())))
    step = fixed if fixed > 0 else _step(arrays, rows)
    for start in range(0, rows, step):
        count = min(step, rows - start)
        piece = {
            name: np.ascontiguousarray(array[start : start + count])
            for name, array in arrays.items()
        }
        if count < fixed:
            piece = {
                name: np.concatenate([array, np.repeat(array[-1:], fixed - count, axis=0)])
                for name, array in piece.items()
            }
        yield piece, count


def _step(arrays: Arrays, rows: int) -> int:
    row_bytes = sum(array.nbytes for array in arrays.values()) // max(rows, 1)
    return max(1, min(PIECE_ROWS, PIECE_BYTES // max(row_bytes, 1)))
