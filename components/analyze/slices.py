"""Slices: the groups of rows that share a value of some raw columns.

A slice key is that of TFMA: a tuple of (column, value), sorted by column, `()` for all
rows. Values are strings, integers or floats; a missing value is the slice `(missing)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

MISSING = "(missing)"
OVERALL = "Overall"
MOST_SLICES = 5000

SliceValue = str | int | float
SliceKey = tuple[tuple[str, SliceValue], ...]


class Dictionary:
    """The values of one column met so far, numbered in their order."""

    def __init__(self) -> None:
        self.values: list[SliceValue] = []
        self._numbers: dict[SliceValue, int] = {}

    def encode(self, column: pa.Array, name: str) -> npt.NDArray[np.int32]:
        """The number of each row's value, int32 [rows]."""
        indices, values = _normalise(column, name)
        numbers = [self._number(value) for value in values]
        codes: npt.NDArray[np.int32] = np.asarray(numbers, np.int32)[indices]
        return codes

    def _number(self, value: SliceValue) -> int:
        if value not in self._numbers:
            self._numbers[value] = len(self.values)
            self.values.append(value)
        return self._numbers[value]


def check_columns(wanted: Sequence[str], schema: pa.Schema) -> None:
    """Refuse slice columns that do not exist.

    Raises:
        EdgelineError: names the column and those there are.
    """
    for name in wanted:
        if name not in schema.names:
            raise EdgelineError(
                f"eval_config slices by column {name!r}, which the examples do not have: "
                f"they have {', '.join(schema.names)}."
            )


def rows_of_slices(
    specs: Sequence[Any],
    codes: Mapping[str, npt.NDArray[np.int32]],
    values: Mapping[str, Sequence[SliceValue]],
    rows: int,
) -> Iterator[tuple[SliceKey, npt.NDArray[np.int64] | slice]]:
    """Every slice that has a row, once, with the rows in it.

    TFMA itself names the slices: it is asked once for each combination of values that occurs.

    Args:
        specs: SlicingSpec protos.
        codes: by column, the number of each row's value, int32 [rows].
        values: by column, the values that the numbers stand for.
        rows: how many rows there are.

    Raises:
        EdgelineError: a spec gives more than 5000 slices, which nobody reads.
    """
    from tensorflow_model_analysis.slicer import slicer_lib

    seen: set[SliceKey] = set()
    for proto in specs:
        columns = sorted({*proto.feature_keys, *proto.feature_values})
        spec = slicer_lib.SingleSliceSpec(spec=proto)
        if not columns:
            if rows and () not in seen:
                seen.add(())
                yield (), slice(None)
            continue
        combined: npt.NDArray[np.signedinteger[Any]] = np.zeros(rows, np.int64)
        for name in columns:
            combined = combined * len(values[name]) + codes[name]
        order = np.argsort(combined, kind="stable")
        found, starts = np.unique(combined[order], return_index=True)
        if len(found) > MOST_SLICES:
            raise EdgelineError(
                f"Slicing by {' and '.join(columns)} gives {len(found)} slices, and at most "
                f"{MOST_SLICES} are allowed: slice by columns of fewer values."
            )
        for members in np.split(order, starts[1:]):
            features = {name: as_feature(values[name][codes[name][members[0]]]) for name in columns}
            for key in slicer_lib.get_slices_for_features_dicts([], features, [spec]):
                if key not in seen:
                    seen.add(key)
                    yield key, members


def as_feature(value: SliceValue) -> Array:
    """A value as TFMA takes a feature of one row: an array [1] that keeps the Python type."""
    return np.array([value], object)


def row_values(column: pa.Array, name: str) -> list[SliceValue]:
    """The slice value of each row of a column."""
    indices, values = _normalise(column, name)
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


def _normalise(column: pa.Array, name: str) -> tuple[Array, list[SliceValue]]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    try:
        if pa.types.is_floating(kind):
            column = column.cast(pa.float32())
            column = pc.if_else(pc.is_nan(column), None, column)
        elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            column = column.cast(pa.int64())
        else:
            column = column.cast(pa.binary()).cast(pa.string())
            column = pc.if_else(pc.equal(column, ""), None, column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise EdgelineError(
            f"Column {name!r} has type {kind} and cannot be sliced by: "
            "slice by a column of plain numbers or UTF-8 strings."
        ) from error
    encoded = column.dictionary_encode()
    values: list[SliceValue] = encoded.dictionary.to_pylist()
    indices = pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)
    return indices, [*values, MISSING] if encoded.null_count else values
