"""The values of a raw column as groups of rows have them: text, whole numbers, float32 or missing.

`analyze` slices by them, and `train` weighs by them, so that both mean the same groups.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

MISSING = "(missing)"  # null, NaN and the empty text
SliceValue = str | int | float


def encoded(column: pa.Array, name: str) -> tuple[Array, list[SliceValue]]:
    """The number of each row's value, int [rows], and the values that the numbers stand for.

    Raises:
        EdgelineError: it is not a column of plain numbers or text.
    """
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
    found = column.dictionary_encode()
    values: list[SliceValue] = found.dictionary.to_pylist()
    indices = pc.fill_null(found.indices, len(values)).to_numpy(zero_copy_only=False)
    return indices, [*values, MISSING] if found.null_count else values
