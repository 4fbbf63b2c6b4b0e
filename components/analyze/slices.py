"""Slices: the groups of rows that share a value of some raw columns.

A slice key is that of TFMA: a tuple of (column, value), sorted by column, `()` for all
rows. Values are strings, integers or floats; a missing value is the slice `(missing)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeline.artifacts.slice_values import SliceValue, encoded
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

OVERALL = "Overall"
MOST_SLICES = 5000  # and values of a column, which int16 numbers
PIECE_ROWS = 1 << 17  # looked at together

SliceKey = tuple[tuple[str, SliceValue], ...]
Codes = npt.NDArray[np.int16]
Members = npt.NDArray[np.int32]


class Dictionary:
    """The values of one column met so far, numbered in their order."""

    def __init__(self) -> None:
        self.values: list[SliceValue] = []
        self._numbers: dict[SliceValue, int] = {}

    def encode(self, column: pa.Array, name: str) -> Codes:
        """The number of each row's value, int16 [rows].

        Raises:
            EdgelineError: there are more values than slices are allowed.
        """
        indices, values = encoded(column, name)
        numbers = [self._number(value) for value in values]
        if len(self.values) > MOST_SLICES:
            raise _too_many([name], len(self.values))
        codes: Codes = np.asarray(numbers, np.int16)[indices]
        return codes

    def _number(self, value: SliceValue) -> int:
        if value not in self._numbers:
            self._numbers[value] = len(self.values)
            self.values.append(value)
        return self._numbers[value]


def check_columns(
    wanted: Sequence[str], schema: pa.Schema, by: str = "eval_config slices by"
) -> None:
    """Refuse slice columns that do not exist.

    Args:
        by: what names them.

    Raises:
        EdgelineError: names the column and those there are.
    """
    for name in wanted:
        if name not in schema.names:
            raise EdgelineError(
                f"{by} column {name!r}, which the examples do not have: "
                f"they have {', '.join(schema.names)}."
            )


def rows_of_slices(
    specs: Sequence[Any],
    codes: Mapping[str, Codes],
    values: Mapping[str, Sequence[SliceValue]],
    rows: int,
) -> Iterator[tuple[SliceKey, Members | slice]]:
    """Every slice that has a row, once, with the rows in it.

    TFMA itself names the slices: it is asked once for each combination of values that occurs. The
    rows of a slice are looked for when it is its turn, so that those of one are held.

    Args:
        specs: SlicingSpec protos.
        codes: by column, the number of each row's value, int16 [rows].
        values: by column, the values that the numbers stand for.
        rows: how many rows there are.

    Raises:
        EdgelineError: a spec gives more than 5000 slices, which nobody reads.
    """
    from tensorflow_model_analysis.slicer import slicer_lib

    from edgeline.components.analyze.slice_specs import ExactSpec

    seen: set[SliceKey] = set()
    for proto in specs:
        columns = sorted({*proto.feature_keys, *proto.feature_values})
        spec = ExactSpec(proto)
        if not columns:
            if rows and () not in seen:
                seen.add(())
                yield (), slice(None)
            continue
        found = _combinations(columns, codes, values, rows)
        for combination in found:
            features = {
                name: as_feature(values[name][code])
                for name, code in zip(columns, combination, strict=True)
            }
            members = None
            for key in slicer_lib.get_slices_for_features_dicts([], features, [spec]):
                if key not in seen:
                    seen.add(key)
                    if members is None:
                        members = _members([codes[name] for name in columns], combination)
                    yield key, members


def _combinations(
    columns: Sequence[str],
    codes: Mapping[str, Codes],
    values: Mapping[str, Sequence[SliceValue]],
    rows: int,
) -> list[tuple[int, ...]]:
    """The codes of some columns that occur together, each once, by rising code."""
    sizes = [len(values[name]) for name in columns]
    found = np.zeros(0, np.int64)
    if math.prod(sizes) > np.iinfo(np.int64).max:
        raise EdgelineError(
            f"Slicing by {' and '.join(columns)} has more combinations of values than can be "
            "numbered: slice by fewer columns."
        )
    for start in range(0, rows, PIECE_ROWS):
        pieces = tuple(codes[name][start : start + PIECE_ROWS] for name in columns)
        found = np.union1d(found, np.ravel_multi_index(pieces, sizes))
        if len(found) > MOST_SLICES:
            raise _too_many(columns, len(found))
    return list(zip(*(part.tolist() for part in np.unravel_index(found, sizes)), strict=True))


def _too_many(columns: Sequence[str], found: int) -> EdgelineError:
    return EdgelineError(
        f"Slicing by {' and '.join(columns)} gives {found} slices or more, and at most "
        f"{MOST_SLICES} are allowed: slice by columns of fewer values."
    )


def _members(codes: Sequence[Codes], combination: Sequence[int]) -> Members:
    """The rows that have these codes, int32 and in their order."""
    pieces = []
    for start in range(0, len(codes[0]), PIECE_ROWS):
        there = np.ones(len(codes[0][start : start + PIECE_ROWS]), np.bool_)
        for column, code in zip(codes, combination, strict=True):
            there &= column[start : start + PIECE_ROWS] == code
        pieces.append((np.flatnonzero(there) + start).astype(np.int32))
    return np.concatenate(pieces)


def as_feature(value: SliceValue) -> Array:
    """A value as TFMA takes a feature of one row: an array [1] that keeps the Python type."""
    return np.array([value], object)


def row_values(column: pa.Array, name: str) -> list[SliceValue]:
    """The slice value of each row of a column."""
    indices, values = encoded(column, name)
    return [values[index] for index in indices]


def name_of(key: SliceKey) -> str:
    """A slice for people: `payment_type: Cash, trip_start_hour: 5`, or `Overall`."""
    return ", ".join(f"{column}: {value}" for column, value in key) or OVERALL


def order_of(key: SliceKey) -> tuple[Any, ...]:
    """Sorts slices: all rows first, then by columns, numbers by size before words."""
    return (
        len(key),
        [column for column, _ in key],
        [(isinstance(value, str), value) for _, value in key],
    )
