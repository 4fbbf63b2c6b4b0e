"""TensorFlow's operators that arrange, compare and choose, as far as text needs them, in numpy.

Of numbers only what is exact is here: whole numbers, comparisons, conversions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeline.formats.dtypes import Array
from edgeline.runtimes.host.elements import Attributes, HostFunction, UnfitError, only

DTYPES: dict[str, Any] = {
    "string": object,
    "bool": np.bool_,
    "int32": np.int32,
    "int64": np.int64,
    "float32": np.float32,
    "float64": np.float64,
}
WHOLE = ("int32", "int64")
ZEROS = {"string": b""}
RAGGED = ["FIRST_DIM_SIZE", "VALUE_ROWIDS"]


def constant(attributes: Attributes) -> HostFunction:
    """Const: `values` in row-major order, of a `shape` and a `dtype`; text as UTF-8."""
    kind, shape = str(attributes["dtype"]), tuple(map(int, attributes["shape"]))
    if kind not in DTYPES:
        raise UnfitError(f"its dtype is {kind!r}")
    values = [v.encode() if isinstance(v, str) else v for v in attributes["values"]]
    held = np.empty(len(values), DTYPES[kind])
    held[:] = values
    held = held.reshape(shape)
    return lambda: held


def plain(function: Callable[..., Array]) -> Callable[[Attributes], HostFunction]:
    """An operator without attributes that matter."""
    return lambda _: function


def whole(function: Callable[..., Array]) -> Callable[[Attributes], HostFunction]:
    """An operator on whole numbers; what is too large goes round, as in TensorFlow."""

    def make(attributes: Attributes) -> HostFunction:
        only(attributes, "T", *WHOLE)

        def apply(*arrays: Array) -> Array:
            with np.errstate(over="ignore"):
                return np.asarray(function(*arrays))

        return apply

    return make


def typed(function: Callable[..., Array]) -> Callable[[Attributes], HostFunction]:
    """An operator on arrays of a dtype `T` that is known here."""

    def make(attributes: Attributes) -> HostFunction:
        only(attributes, "T", *DTYPES)
        return lambda *arrays: np.asarray(function(*map(flushed, arrays)))

    return make


def cast(attributes: Attributes) -> HostFunction:
    """Cast between whole numbers and bool, and of float64 to float32."""
    given, wanted = only(attributes, "SrcT", *DTYPES), only(attributes, "DstT", *DTYPES)
    exact = {*WHOLE, "bool"}
    narrowing = (given, wanted) == ("float64", "float32")
    if not narrowing and not {given, wanted} <= exact:
        raise UnfitError(f"it makes {wanted} of {given}")

    def apply(values: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return flushed(np.asarray(flushed(values).astype(DTYPES[wanted])))

    return apply


def flushed(values: Array) -> Array:
    """Denormal floats as 0, which TensorFlow's threads take them for; other dtypes as they are."""
    if values.dtype.kind != "f":
        return values
    denormal = np.abs(values) < np.finfo(values.dtype).smallest_normal
    return np.where(denormal, np.copysign(values.dtype.type(0), values), values)


def select(attributes: Attributes) -> HostFunction:
    """SelectV2."""
    only(attributes, "T", *DTYPES)
    return lambda condition, then, otherwise: np.where(condition, then, otherwise)


def old_select(attributes: Attributes) -> HostFunction:
    """Select, whose condition may be a vector that says it for whole rows."""
    chosen = select(attributes)

    def apply(condition: Array, then: Array, otherwise: Array) -> Array:
        rows = condition.reshape(condition.shape + (1,) * (then.ndim - condition.ndim))
        return np.asarray(chosen(rows, then, otherwise))

    return apply


def shape(attributes: Attributes) -> HostFunction:
    """Shape."""
    kind = DTYPES[only(attributes, "out_type", *WHOLE)]
    return lambda values: np.array(values.shape, kind)


def squeeze(attributes: Attributes) -> HostFunction:
    """Squeeze."""
    axes = tuple(map(int, attributes.get("squeeze_dims", ())))
    return lambda values: np.squeeze(values, axes or None)


def expand(values: Array, axis: Array) -> Array:
    """ExpandDims."""
    return np.expand_dims(values, int(axis.item()))


def concat(*arrays: Array) -> Array:
    """ConcatV2: the last input is the axis."""
    return np.concatenate(arrays[:-1], int(arrays[-1].item()))


def pack(attributes: Attributes) -> HostFunction:
    """Pack."""
    axis = int(attributes.get("axis", 0))
    return lambda *arrays: np.stack(arrays, axis)


def fill(size: Array, value: Array) -> Array:
    """Fill."""
    return np.broadcast_to(value, tuple(size.tolist())).copy()


def zeros_like(attributes: Attributes) -> HostFunction:
    """ZerosLike."""
    kind = only(attributes, "T", *DTYPES)
    return lambda values: np.full(values.shape, ZEROS.get(kind, 0), DTYPES[kind])


def strided_slice(attributes: Attributes) -> HostFunction:
    """StridedSlice without an ellipsis or a new axis."""
    masks = {
        name: int(attributes.get(f"{name}_mask", 0))
        for name in ("begin", "end", "shrink_axis", "ellipsis", "new_axis")
    }
    if masks["ellipsis"] or masks["new_axis"]:
        raise UnfitError("it has an ellipsis or a new axis")

    def apply(values: Array, begin: Array, end: Array, strides: Array) -> Array:
        parts: list[slice | int] = []
        bounds = zip(begin.tolist(), end.tolist(), strides.tolist(), strict=True)
        for axis, (first, last, step) in enumerate(bounds):
            bit = 1 << axis
            if masks["shrink_axis"] & bit:
                parts.append(first)
                continue
            first = None if masks["begin"] & bit else first
            parts.append(slice(first, None if masks["end"] & bit else last, step))
        return np.asarray(values[tuple(parts)])

    return apply


def ragged_to_dense(attributes: Attributes) -> HostFunction:
    """RaggedTensorToTensor of rows of values, as `tf.strings.split(...).to_tensor` makes it."""
    if list(attributes.get("row_partition_types", ())) != RAGGED:
        raise UnfitError("its rows are told in another way than split tells them")

    def apply(size: Array, values: Array, default: Array, rows: Array, of_row: Array) -> Array:
        wanted = size.tolist() if size.ndim else [-1, -1]
        count = int(rows.item()) if wanted[0] < 0 else wanted[0]
        lengths = np.bincount(of_row, minlength=int(rows.item()))
        width = int(lengths.max(initial=0)) if wanted[1] < 0 else wanted[1]
        found = np.empty((count, width), values.dtype)
        found[:] = default.item()
        begins = np.cumsum(lengths) - lengths
        places = np.arange(len(of_row)) - begins[of_row]
        kept = (places < width) & (of_row < count)
        found[of_row[kept], places[kept]] = values[kept]
        return found

    return apply
