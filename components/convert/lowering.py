"""The lowered operators: what LiteRT lacks, rebuilt from builtins that it has, value for value.

`LOWERINGS` has one entry an operator; `replay` applies them.

LiteRT neither selects between strings nor writes a number as a string. Where only a table
reads the result neither is needed, so both stay symbolic (`Choice`, `Decimal`) until something
reads them: `table[where(c, a, b)]` becomes `where(c, table[a], table[b])`. So do integers that
become float64 to be divided (`Ratio`), since LiteRT computes with float32 alone.

Tables are rebuilt from their content, in a fixed order and under fixed names: the converter
writes a hash of a table's name, random by default, into the model. LiteRT has tables from
string to int64 and from int64 to string; the others that preprocessing uses are made of these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

Value = Any  # a tf.Tensor, Handle, Choice, Decimal or Ratio


@dataclass(frozen=True)
class Choice:
    """`tf.where(condition, then, otherwise)` of strings, not yet computed."""

    condition: tf.Tensor
    then: Value
    otherwise: Value

    def tensor(self) -> tf.Tensor:
        return tf.where(self.condition, materialised(self.then), materialised(self.otherwise))


@dataclass(frozen=True)
class Decimal:
    """`tf.strings.as_string(number)` of integers, not yet computed."""

    number: tf.Tensor

    def tensor(self) -> tf.Tensor:
        return tf.strings.as_string(self.number)


@dataclass(frozen=True)
class Ratio:
    """Integers as float64, or one such divided by another, not yet computed."""

    number: tf.Tensor
    divisor: tf.Tensor | None = None

    def tensor(self) -> tf.Tensor:
        number = tf.cast(self.number, tf.float64)
        return number if self.divisor is None else number / tf.cast(self.divisor, tf.float64)


def materialised(value: Value) -> tf.Tensor:
    return value.tensor() if isinstance(value, (Choice, Decimal, Ratio)) else value


# --- tables -----------------------------------------------------------------------------------


class _Named(tf.lookup.KeyValueTensorInitializer):  # type: ignore[misc]
    """Gives its table a fixed name, where TensorFlow would draw one."""

    def __init__(self, name: str, keys: tf.Tensor, values: tf.Tensor):
        self.fixed_name = name
        super().__init__(keys, values)

    @property
    def _shared_name(self) -> str:
        return self.fixed_name


@dataclass
class Handle:
    """A resource of the SavedModel; the operators that use it know it to be a table."""

    handle: tf.Tensor
    tables: dict[object, tf.lookup.StaticHashTable]

    def content(self, key: tf.DType, value: tf.DType) -> tuple[Any, Any]:
        """Keys and values, [n] each, sorted by key."""
        with tf.init_scope():
            keys, values = tf.raw_ops.LookupTableExportV2(
                table_handle=self.handle, Tkeys=key, Tvalues=value
            )
            keys, values = keys.numpy(), values.numpy()
        order = np.argsort(keys, kind="stable")
        return keys[order], values[order]

    def lookup(self, keys: Any, values: Any, default: object, given: tf.Tensor) -> tf.Tensor:
        content = (tuple(keys.tolist()), tuple(values.tolist()), default)
        if content not in self.tables:
            name = hashlib.sha256(repr(content).encode()).hexdigest()
            with tf.init_scope():
                named = _Named(f"table_{name}", tf.constant(keys), tf.constant(values))
                self.tables[content] = tf.lookup.StaticHashTable(named, default)
        return _reshaped(self.tables[content].lookup(given), given)


def _find(table: Handle, keys: Value, default: tf.Tensor) -> tf.Tensor | None:
    """What a table of numbers has for some keys; None where LiteRT has no such table."""
    if isinstance(keys, Choice):
        then, otherwise = (_find(table, k, default) for k in (keys.then, keys.otherwise))
        if then is None or otherwise is None:
            return None
        return tf.where(keys.condition, then, otherwise)
    fallback = tf.get_static_value(default)
    if fallback is None or default.dtype not in (tf.int64, tf.int32, tf.float32):
        return None
    kind = tf.string if isinstance(keys, Decimal) else keys.dtype
    if kind not in (tf.string, tf.int64):
        return None
    names, values = table.content(kind, default.dtype)
    if default.dtype == tf.int64:
        return _find_whole(table, keys, names, values, int(fallback))
    listed = np.append(values, fallback).astype(values.dtype)
    # the converter writes an infinite constant as the largest float (see `infinities`)
    if listed.dtype == np.float32 and (np.abs(listed) >= np.finfo(np.float32).max).any():
        return None
    # LiteRT's tables have int64 alone: the place of a key among all, and what stands there
    place = _find_whole(table, keys, names, np.arange(len(names)), len(names))
    return tf.gather(tf.constant(listed), place)


def _find_whole(table: Handle, keys: Value, names: Any, values: Any, default: int) -> tf.Tensor:
    """What a table of int64 values has for keys that are strings, integers or their decimals."""
    if isinstance(keys, Decimal):
        canonical = [str(_integer(name)).encode() == name for name in names]
        return _find_number(table, keys.number, names[canonical], values[canonical], default)
    if keys.dtype == tf.string:
        if (constant := tf.get_static_value(keys)) is not None and keys.shape.rank == 0:
            known = dict(zip(names, values, strict=True))
            return tf.constant(known.get(constant.item(), default), tf.int64)
        return table.lookup(names, values, default, keys)
    written = np.array([str(number).encode() for number in names], object)
    return _find_number(table, keys, written, values, default)


def _find_number(
    table: Handle, keys: tf.Tensor, names: Any, values: Any, default: int
) -> tf.Tensor:
    """int64 to int64 as int64 to string to int64; no number is written as the empty string."""
    numbers = np.array([int(name) for name in names], np.int64)
    if not len(numbers):
        return tf.fill(tf.shape(keys), tf.constant(default, tf.int64))
    named = table.lookup(numbers, names, "", tf.cast(keys, tf.int64))
    return table.lookup(names, values, default, named)


def _reshaped(values: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """The converter does not know that a table's answer has the shape of its keys."""
    if keys.shape.rank is not None and keys.shape.as_list().count(None) < 2:
        return tf.reshape(values, [-1 if size is None else size for size in keys.shape])
    return tf.reshape(values, tf.shape(keys))


def _integer(name: bytes) -> int | None:
    try:
        number = int(name)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None


# --- the lowered operators ----------------------------------------------------------------------
#
# An entry takes the operator (for its attributes) and its inputs and gives its output, or None
# where there is no exact equivalent.

Lowering = Callable[..., "Value | None"]


def _find_in_table(_: tf.Operation, table: Value, keys: Value, default: tf.Tensor) -> Value:
    return _find(table, keys, default) if isinstance(table, Handle) else None


def _table_size(operator: tf.Operation, table: Value) -> Value:
    if not isinstance(table, Handle):
        return None
    with tf.init_scope():
        size = int(tf.raw_ops.LookupTableSizeV2(table_handle=table.handle))
    return tf.constant(size, operator.outputs[0].dtype)


def _hash_bucket(operator: tf.Operation, strings: Value) -> Value:
    """One bucket takes all; LiteRT has no hash for more."""
    if operator.get_attr("num_buckets") != 1:
        return None
    return _zeros(strings)


def _select(operator: tf.Operation, condition: tf.Tensor, then: Value, otherwise: Value) -> Value:
    return Choice(condition, then, otherwise) if operator.outputs[0].dtype == tf.string else None


def compared(compare: Callable[[Any, Any], tf.Tensor]) -> Lowering:
    """A comparison of strings, some of which are chosen (each is compared) or are numbers."""

    def answer(x: Value, y: Value) -> tf.Tensor:
        if isinstance(x, Choice):
            return tf.where(x.condition, answer(x.then, y), answer(x.otherwise, y))
        if isinstance(y, Choice):
            return answer(y, x)
        for one, other in ((x, y), (y, x)):
            if isinstance(one, Decimal) and (found := of_decimal(one.number, other)) is not None:
                return found
        return compare(materialised(x), materialised(y))

    def of_decimal(number: tf.Tensor, text: Value) -> tf.Tensor | None:
        if isinstance(text, Decimal):
            return compare(tf.cast(number, tf.int64), tf.cast(text.number, tf.int64))
        if isinstance(text, Choice) or (names := tf.get_static_value(text)) is None:
            return None
        # "07" and "red" are what no number is written as
        values = [_integer(name) for name in np.ravel(names)]
        written = [str(value).encode() for value in values]
        known = np.reshape(np.equal(written, np.ravel(names)), np.shape(names))
        wanted = np.reshape(np.array([value or 0 for value in values], np.int64), np.shape(names))
        same = compare(tf.cast(number, tf.int64), tf.constant(wanted))
        return same if known.all() else tf.where(known, same, compare(0, 1))

    def lowering(_: tf.Operation, x: Value, y: Value) -> Value:
        symbolic = (Choice, Decimal)
        return answer(x, y) if isinstance(x, symbolic) or isinstance(y, symbolic) else None

    return lowering


def _as_string(operator: tf.Operation, number: tf.Tensor) -> Value:
    plain = operator.get_attr("width") == -1 and number.dtype in (tf.int32, tf.int64)
    return Decimal(number) if plain else None


def _reshape(operator: tf.Operation, value: Value, *arguments: tf.Tensor) -> Value:
    """The shape of symbolic strings is that of what they are made of."""

    def again(tensor: tf.Tensor) -> tf.Tensor:
        if operator.type == "Squeeze":
            return tf.squeeze(tensor, operator.get_attr("squeeze_dims") or None)
        if operator.type == "ExpandDims":
            return tf.expand_dims(tensor, *arguments)
        return tf.reshape(tensor, *arguments)

    if isinstance(value, Decimal):
        return Decimal(again(value.number))
    if not isinstance(value, Choice):
        return None
    branches = []
    for branch in (value.then, value.otherwise):
        if isinstance(branch, tf.Tensor) and branch.shape.rank == 0:
            branches.append(branch)
        elif isinstance(branch, tf.Tensor) and _same_shape(branch, value.condition):
            branches.append(again(branch))
        else:
            return None
    return Choice(again(value.condition), *branches)


def _upper_bound(operator: tf.Operation, boundaries: tf.Tensor, values: tf.Tensor) -> Value:
    """How many boundaries a value is not below; all for NaN, as in TensorFlow.

    Counted as all but those above it: the converter makes `>=` of `not <`, which loses NaN. It
    also writes an infinite constant as the largest float; and TensorFlow, not LiteRT, takes
    denormal floats for 0.
    """
    count = tf.shape(boundaries, operator.get_attr("out_type"))[1]
    return count - _count(tf.expand_dims(values, 2), tf.expand_dims(boundaries, 1), operator)


def _lower_bound(operator: tf.Operation, boundaries: tf.Tensor, values: tf.Tensor) -> Value:
    """How many boundaries are below a value; none for NaN, as in TensorFlow."""
    return _count(tf.expand_dims(boundaries, 1), tf.expand_dims(values, 2), operator)


def _absolute(_: tf.Operation, x: tf.Tensor) -> Value:
    return tf.maximum(x, -x) if x.dtype == tf.int64 else None


def _sign(_: tf.Operation, x: tf.Tensor) -> Value:
    one = tf.constant(1, x.dtype)
    return tf.minimum(tf.maximum(x, -one), one) if x.dtype == tf.int64 else None


def _clip(_: tf.Operation, x: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> Value:
    return tf.minimum(tf.maximum(x, low), high) if x.dtype == tf.int64 else None


def _dilated(_: tf.Operation, x: tf.Tensor, block: tf.Tensor, crops: tf.Tensor) -> Value:
    """A dilated convolution, which TensorFlow computes between two rearrangements, as one.

    The converter leaves batch norms behind such a rearrangement beside the convolution.
    """
    convolution = _behind(x, "Squeeze")
    if convolution.type != "Conv2D" or convolution.get_attr("data_format") != b"NHWC":
        return None
    start = _behind(convolution.inputs[0], "ExpandDims")
    strides, padding = (convolution.get_attr(name) for name in ("strides", "padding"))
    if start.type != "SpaceToBatchND" or padding != b"VALID" or {*strides} != {1}:
        return None
    sizes, added, cut = map(tf.get_static_value, (block, start.inputs[2], crops))
    same = np.array_equal(sizes, tf.get_static_value(start.inputs[1]))
    if added is None or cut is None or not same or (added < cut).any():
        return None
    given = start.inputs[0]
    if (added > cut).any():  # what is cut from the end need not be added to it
        given = tf.pad(given, [[0, 0], *(added - cut).tolist(), [0, 0]])
    series = given.shape.rank == 3
    if series:
        given = tf.expand_dims(given, 1)
    dilations = [1] * (2 - len(sizes)) + sizes.tolist()
    result = tf.nn.conv2d(given, convolution.inputs[1], 1, "VALID", dilations=dilations)
    return tf.squeeze(result, [1]) if series else result


def _behind(x: tf.Tensor, kind: str) -> tf.Operation:
    """What gives a tensor, seen through one operator of a kind."""
    return x.op.inputs[0].op if x.op.type == kind else x.op


LOWERINGS: dict[str, Lowering] = {
    "Abs": _absolute,
    "AsString": _as_string,
    "BatchToSpaceND": _dilated,
    "ClipByValue": _clip,
    "Equal": compared(tf.equal),
    "ExpandDims": _reshape,
    "LookupTableFindV2": _find_in_table,
    "LookupTableSizeV2": _table_size,
    "LowerBound": _lower_bound,
    "NotEqual": compared(tf.not_equal),
    "Reshape": _reshape,
    "Select": _select,
    "SelectV2": _select,
    "Sign": _sign,
    "Squeeze": _reshape,
    "StringToHashBucket": _hash_bucket,
    "StringToHashBucketFast": _hash_bucket,
    "StringToHashBucketStrong": _hash_bucket,
    "UpperBound": _upper_bound,
}


def _count(lower: tf.Tensor, upper: tf.Tensor, operator: tf.Operation) -> tf.Tensor:
    flags = tf.cast(tf.less(lower, upper), operator.get_attr("out_type"))
    return tf.reduce_sum(flags, axis=-1)


def _zeros(value: Value) -> tf.Tensor:
    """int64 zeros of the shape of some strings, without computing the shape: LiteRT's SHAPE and
    FILL are fixed before a table has given its tensor a size."""
    if isinstance(value, Decimal):
        return tf.zeros_like(value.number, tf.int64)
    if isinstance(value, Choice):
        return tf.where(value.condition, _zeros(value.then), _zeros(value.otherwise))
    return tf.cast(tf.not_equal(value, value), tf.int64)


def _same_shape(a: tf.Tensor, b: tf.Tensor) -> bool:
    return a.shape.rank is not None and a.shape.as_list() == b.shape.as_list()
