"""Raw features: what a model takes, on the device as in the cloud.

A column of examples becomes one dense tensor of shape [batch, n] (n is 1 for a
plain column, the length of the list for a fixed-length list column), or of the shape that
the column's field says (images: [batch, height, width, channels]; lists of varying length: the
most values that one has), with one agreed value where the column is missing and at the end of
a shorter list, so that the same bytes can be given to a SavedModel, an edge interpreter and a
server:

| dtype   | Arrow                       | missing            |
|---------|-----------------------------|--------------------|
| float32 | float16, float32, float64   | NaN                |
| int64   | any integer, bool           | -2**63             |
| string  | string, binary (as bytes)   | b"" (empty string) |

A model fills them itself: see `edgeline.preprocessing.fill_missing`. A point in time is an int64:
microseconds since 1970 in UTC, as ingest stores it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgeline.errors import EdgelineError

if TYPE_CHECKING:  # a device reads features from a manifest, never from Arrow
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from edgeline.formats.dtypes import Array

SHAPE = b"shape"  # in the metadata of an Arrow field
# There, too: every row of a plain column has the feature, also one without a value. It is a
# tf.Example's that has no values, or not even their kind, which TFDV has counted in both ways.
EMPTY, NO_VALUES, NO_KIND = b"empty", b"values", b"kind"
MISSING_INT = -(2**63)
MISSING: Mapping[str, Any] = {"float32": float("nan"), "int64": MISSING_INT, "string": b""}
NUMPY_DTYPES: Mapping[str, str] = {"float32": "float32", "int64": "int64", "string": "object"}


@dataclass(frozen=True)
class Feature:
    """One input: name, dtype (float32, int64 or string for a raw one) and shape without the batch.

    `transformed` is the output of the transform that the input is, where a model takes some of
    these beside raw features; else it is "".
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = (1,)
    transformed: str = ""

    def to_json(self) -> dict[str, Any]:
        told = {**asdict(self), "shape": list(self.shape)}
        if not self.transformed:
            del told["transformed"]
        return told

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Feature:
        transformed = value.get("transformed", "")
        return cls(value["name"], value["dtype"], tuple(value["shape"]), transformed)


def from_arrow_schema(schema: pa.Schema) -> list[Feature]:
    """The raw features of an examples split, in the order of its columns.

    Raises:
        EdgelineError: a column has a type that no model takes.
    """
    return [Feature(field.name, *_dtype_and_shape(field)) for field in schema]


def to_numpy(batch: pa.RecordBatch, features: Iterable[Feature]) -> dict[str, Array]:
    """Dense arrays of shape [rows, *feature.shape], missing values as agreed above.

    Strings come as an object array of bytes.

    Raises:
        EdgelineError: a feature's column is absent or has another type or length.
    """
    return {feature.name: _column_to_numpy(batch, feature) for feature in features}


def missing(values: Array) -> npt.NDArray[np.bool_] | None:
    """Which values are the marker of a missing one, in an array's shape; None where it has none.

    Only floats, int64 and strings have one: a model's own input of int8, say, is never missing.
    """
    import numpy as np  # what only names features needs none

    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    if values.dtype == np.int64:
        return np.asarray(values == MISSING_INT)
    if values.dtype.kind in "OSU":
        flat = np.fromiter((len(value) == 0 for value in values.flat), bool, values.size)
        return flat.reshape(values.shape)
    return None


def with_shape(field: pa.Field, shape: tuple[int, ...]) -> pa.Field:
    """A list column that knows its shape; its values lie in row-major order."""
    return field.with_metadata({SHAPE: ",".join(map(str, shape)).encode()})


def shape_of(field: pa.Field) -> tuple[int, ...]:
    """The shape that a column knows, see `with_shape`; () where it knows none."""
    known = (field.metadata or {}).get(SHAPE)
    return tuple(map(int, known.split(b","))) if known else ()


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists of values, of whatever kind of list."""
    import pyarrow as pa

    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _column_to_numpy(batch: pa.RecordBatch, feature: Feature) -> Array:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    index = batch.schema.get_field_index(feature.name)
    if index < 0:
        raise EdgelineError(
            f"Column {feature.name!r} is missing: the model was trained with it; "
            "give it, with nulls where a value is unknown."
        )
    found, shape = _dtype_and_shape(batch.schema.field(index))
    if found != feature.dtype and not (found == "int64" and feature.dtype == "float32"):
        raise EdgelineError(
            f"Column {feature.name!r} holds {found}, but the schema says {feature.dtype}: "
            "convert the column or renew the schema."
        )
    column = batch.column(index)
    if is_list(column.type):
        varies = not pa.types.is_fixed_size_list(column.type)
        padded = varies and bool(shape_of(batch.schema.field(index)))
        column = _flatten(column, feature, padded)
    elif feature.shape != shape:
        raise EdgelineError(
            f"Column {feature.name!r} has one value in each row, but {math.prod(feature.shape)} "
            "are needed: give a list column or renew the schema."
        )
    kind = {"string": pa.binary(), "int64": pa.int64(), "float32": pa.float32()}[feature.dtype]
    try:
        # rounding a number is right for float32, wrapping one is wrong for int64
        typed = column.cast(kind, safe=feature.dtype != "float32")
    except pa.ArrowInvalid as error:
        raise EdgelineError(
            f"Column {feature.name!r} does not fit {feature.dtype} ({error}): "
            "convert it to a number or a string first."
        ) from error
    values = pc.fill_null(typed, MISSING[feature.dtype]).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values).reshape(len(batch), *feature.shape)


def _flatten(column: pa.Array, feature: Feature, padded: bool) -> pa.Array:
    """The values of lists, [rows * width]: of a missing one, and at the end of a shorter, nulls."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    width = math.prod(feature.shape)
    # from DLPack and buffers, because a conversion by Arrow would import pandas
    lengths = np.from_dlpack(pc.fill_null(pc.list_value_length(column), -1))
    wrong = np.flatnonzero((lengths > width) | ((lengths >= 0) & (lengths < width) & (not padded)))
    if len(wrong):
        raise EdgelineError(
            f"Column {feature.name!r} has {lengths[wrong[0]]} values in row {wrong[0]} of a "
            f"batch, but {width} are needed in each: pad or cut it."
        )
    values = column.flatten()
    if len(values) == len(column) * width:
        return values
    held = np.arange(width) < lengths[:, None]
    places = (np.cumsum(held) - 1) * held.ravel()
    bits = pa.py_buffer(np.packbits(held, bitorder="little"))
    return values.take(
        pa.Array.from_buffers(pa.int64(), held.size, [bits, pa.py_buffer(places.astype(np.int64))])
    )


def _dtype_and_shape(field: pa.Field) -> tuple[str, tuple[int, ...]]:
    import pyarrow as pa

    kind: pa.DataType = field.type
    shape: tuple[int, ...] = (1,)
    if is_list(kind):
        # without either, the schema, not the Arrow type, knows the length
        shape = (kind.list_size if pa.types.is_fixed_size_list(kind) else -1,)
        shape = shape_of(field) or shape
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_floating(kind):
        return "float32", shape
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "int64", shape
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string", shape
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "string", shape
    raise EdgelineError(
        f"Column {field.name!r} has type {field.type}, which no model takes: "
        "convert it to a number or a string first."
    )
