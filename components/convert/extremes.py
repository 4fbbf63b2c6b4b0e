"""Lowerings of numbers at their extremes, where LiteRT computes otherwise than TensorFlow.

Missing values are NaN or the smallest integer once they are in a graph, infinity and numbers
beyond 31 bits are in ids and times; each entry gives for them what TensorFlow's kernels give on a
CPU, and is exact for all others, or as exact as LiteRT's own kernel. `NUMBERS` has one entry per
operator (see `lowering.Lowering`).

Conditions are written as `less`, which NaN does not satisfy: the converter makes `not less` of
`greater_equal`, which it does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from edgeline.components.convert import folds, integers
from edgeline.components.convert.lowering import Lowering, Ratio, Value
from edgeline.components.convert.waves import wave

SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
_LARGEST = np.finfo(np.float32).max
_LARGE = 2.0**125  # above, XNNPACK's root and its inverse are wrong, then its logarithm
_MOST_FACTORS = 64  # of a power that is multiplied: more would round too often
_QUOTIENTS, _INVERSES = ("Atan2", "Div", "RealDiv", "Xdivy"), ("Inv", "Reciprocal", "Rsqrt")
_MOST_USERS = 100  # that are followed


def flushed(x: tf.Tensor) -> tf.Tensor:
    """Denormal floats as 0, which they are to TensorFlow's kernels; other dtypes as they are."""
    if x.dtype != tf.float32:
        return x
    return tf.where(tf.less(tf.abs(x), SMALLEST_NORMAL), x * 0.0, x)  # -0.0 stays


@dataclass(frozen=True)
class Unflushed:
    """A raw feature of floats, or several side by side, whose denormals are not 0 yet."""

    given: tf.Tensor

    @functools.cached_property
    def flushed(self) -> tf.Tensor:
        return flushed(self.given)


def _divide(operator: tf.Operation, x: Value, divisor: Value) -> Any:
    """The converter multiplies by the inverse of a constant, that of 0 being the largest float."""
    if operator.outputs[0].dtype == tf.float64:
        return integers.ratio(x, divisor)
    value = tf.get_static_value(divisor) if x.dtype == tf.float32 else None
    if value is None or np.all(value):
        return None
    infinity = np.where(value == 0, np.copysign(np.float32(np.inf), value), np.float32(0))
    if not np.any(value):
        return x * infinity
    return tf.where(value == 0, x * infinity, x / np.where(value == 0, np.float32(1), value))


def _cast(operator: tf.Operation, x: Value) -> Any:
    """NaN, and what is too large, is the smallest integer; LiteRT gives the largest."""
    to = operator.get_attr("DstT")
    if isinstance(x, Ratio) or to == tf.float64:
        return integers.cast(x, to)
    if x.dtype == tf.bool:
        return folds.number(operator, x, COMPARING)
    if not x.dtype.is_floating or not to.is_integer or to in (tf.uint32, tf.uint64):
        return None
    if x.dtype == tf.float64:
        return _of_double(x, to)
    x = tf.cast(x, tf.float32)
    if to.size < 4:  # by way of 32 bits, then the nearest that there is
        whole = _truncated(x, tf.int32)
        return tf.cast(tf.minimum(tf.maximum(whole, to.min), to.max), to)
    return _truncated(x, to)


def _of_double(x: tf.Tensor, to: tf.DType) -> Any:
    """LiteRT compares no doubles; the largest int64 is none of them, so it says what is beyond."""
    whole = tf.cast(x, tf.int64)
    whole = tf.where(tf.equal(whole, tf.int64.max), tf.constant(tf.int64.min, tf.int64), whole)
    if to == tf.int64:
        return whole
    inside = tf.logical_and(
        tf.less(whole, tf.constant(2**31, tf.int64)),
        tf.less(tf.constant(-(2**31) - 1, tf.int64), whole),
    )
    within = tf.cast(tf.where(inside, whole, tf.constant(-(2**31), tf.int64)), tf.int32)
    return within if to == tf.int32 else tf.cast(tf.clip_by_value(within, to.min, to.max), to)


def _truncated(x: tf.Tensor, to: tf.DType) -> tf.Tensor:
    return tf.where(tf.less(x, 2.0 ** (8 * to.size - 1)), tf.cast(x, to), tf.constant(to.min, to))


def _one_hot(operator: tf.Operation, x: tf.Tensor, depth: tf.Tensor, on: Any, off: Any) -> Any:
    """LiteRT takes the low 32 bits of an index."""
    size = tf.get_static_value(depth)
    if x.dtype != tf.int64 or size is None:
        return None
    return tf.one_hot(_index(x, int(size)), depth, on, off, operator.get_attr("axis"))


def _equal(operator: tf.Operation, x: Value, y: Value) -> Any:
    """The converter makes `one_hot` of a comparison with 0, 1, 2 and so on."""
    if not (isinstance(x, tf.Tensor) and isinstance(y, tf.Tensor)) or x.dtype != tf.int64:
        return integers.compared(tf.equal)(operator, x, y)
    for one, other in ((x, y), (y, x)):
        steps = tf.get_static_value(other)
        if steps is None or not steps.ndim:
            continue
        if np.array_equal(steps.ravel(), np.arange(steps.size)):
            return tf.equal(_index(one, steps.size), tf.cast(other, tf.int32))
    return None


def _index(x: tf.Tensor, size: int) -> tf.Tensor:
    """Indices below a size as int32, [...]; -1 for all others."""
    inside = tf.logical_and(
        tf.less(tf.constant(-1, x.dtype), x), tf.less(x, tf.constant(size, x.dtype))
    )
    return tf.cast(tf.where(inside, x, tf.constant(-1, x.dtype)), tf.int32)


def _kept(compute: Callable[[tf.Tensor], tf.Tensor], zero: bool = False) -> Lowering:
    """NaN stays NaN, and (`zero`) -0 stays -0."""

    def lowering(_: tf.Operation, x: tf.Tensor) -> Any:
        if x.dtype != tf.float32:
            return None
        known = tf.less(0.0, tf.abs(x)) if zero else tf.equal(x, x)
        return tf.where(known, compute(x), x)

    return lowering


def _negative(operator: tf.Operation, x: tf.Tensor) -> Any:
    """LiteRT's has no -0; left as it is where nothing near divides by it, for the converter makes
    activations of what has a negative in it."""
    if x.dtype != tf.float32 or not _divides(operator):
        return None
    return x * -1.0


def _divides(operator: tf.Operation, steps: int = 6) -> bool:
    """Whether something divides by what comes of it, a few operators on."""
    found = [operator]
    for _ in range(steps):
        following = []
        for each in found:
            for user in each.outputs[0].consumers() if each.outputs else ():
                divisor = user.type in _QUOTIENTS and user.inputs[1] is each.outputs[0]
                if divisor or user.type in _INVERSES:
                    return True
                if user.type != "Erfc":  # a GELU, which the converter knows by its negative
                    following.append(user)
        found = following[:_MOST_USERS]
    return False


def _minus(operator: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> Any:
    """TensorFlow runs 0 - y as -y; the converter leaves out + (x - x), which may be NaN."""
    if y.dtype != tf.float32:
        return None
    if x is y:
        return tf.abs(x) * 0.0
    value = tf.get_static_value(x)
    if value is None or value.any() or operator.outputs[0].shape.rank != y.shape.rank:
        return None
    return _negative(operator, y)


def _softplus(x: tf.Tensor) -> tf.Tensor:
    """log(1 + exp(x)) without an exp that overflows."""
    return tf.maximum(x, 0.0) + tf.math.log1p(tf.exp(-tf.abs(x)))


def _logarithm(compute: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """log or log1p, which are one for large numbers."""

    def whole(x: tf.Tensor) -> tf.Tensor:
        large = tf.math.log(x * 0.25) + 2 * math.log(2)
        beyond = tf.where(tf.math.is_finite(x), large, x)
        return tf.where(tf.less(x, _LARGE), compute(x), beyond)

    return whole


_log = _logarithm(tf.math.log)
_log1p = _logarithm(tf.math.log1p)


def _sqrt(_: tf.Operation, x: tf.Tensor) -> Any:
    """XNNPACK's root is wrong for the largest floats."""
    if x.dtype != tf.float32:
        return None
    return tf.where(tf.less(x, _LARGE), tf.sqrt(x), 2.0 * tf.sqrt(x * 0.25))


def _floor_div(operator: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> Any:
    """LiteRT's fails for a divisor of 0, and rounds large quotients otherwise."""
    if x.dtype != tf.float32:
        return integers.INTEGERS["FloorDiv"](operator, x, y)
    value = tf.get_static_value(y)
    return tf.floor(x / y) if value is None or np.all(value) else None


def _floor_mod(operator: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> Any:
    """LiteRT's fails for a divisor of 0."""
    if x.dtype != tf.float32:
        return integers.INTEGERS["FloorMod"](operator, x, y)
    if tf.get_static_value(y) is not None:
        return None
    none = tf.equal(y, 0.0)
    return tf.where(none, y / y, tf.math.floormod(x, tf.where(none, tf.ones_like(y), y)))


def _power(operator: tf.Operation, x: tf.Tensor, exponent: tf.Tensor) -> Any:
    """The converter makes a root of a power 0.5, and what overflows the largest float."""
    if x.dtype != tf.float32:
        return integers.INTEGERS["Pow"](operator, x, exponent)
    value = tf.get_static_value(exponent)
    if value is None or value.size != 1:
        return None
    number = value.item()
    if number == 0.5:
        power = _sqrt(operator, x)
    elif number == -0.5:
        power = _rsqrt(operator, x)
    elif not number.is_integer() or abs(number) <= 2:
        return None
    elif abs(number) <= _MOST_FACTORS:
        power = _multiplied(x, int(abs(number)))
        power = power if number > 0 else 1.0 / power
    else:
        power = tf.pow(x, number)
        power = tf.where(
            tf.less(float(np.nextafter(_LARGEST, np.float32(0))), tf.abs(power)), 2 * power, power
        )
    for _ in range(value.ndim - x.shape.rank if power is not None else 0):
        power = tf.expand_dims(power, 0)
    return power


def _multiplied(x: tf.Tensor, times: int) -> tf.Tensor:
    """x to a whole power, of squares."""
    half = x if times < 4 else _multiplied(x, times // 2)
    if times < 4:
        return x * x * x if times == 3 else x * x
    square = half * half
    return square * x if times % 2 else square


def _rsqrt(_: tf.Operation, x: tf.Tensor) -> Any:
    """Infinity for 0, where XNNPACK gives NaN; it is wrong for the largest floats."""
    if x.dtype != tf.float32 or _is_positive(x.op):
        return None
    zero, large = tf.equal(x, 0.0), tf.less(_LARGE, x)
    small = tf.where(large, x * 0.25, tf.where(zero, tf.ones_like(x), x))
    found = tf.math.rsqrt(small)
    return tf.where(zero, 1.0 / x, tf.where(large, found * 0.5, found))


def _is_positive(operator: tf.Operation) -> bool:
    """Whether it adds a positive constant, as normalisation does to a variance."""
    added = operator.inputs[1] if operator.type in ("Add", "AddV2") else None
    value = None if added is None else tf.get_static_value(added)
    return value is not None and bool(np.all(value > 0))


def _extreme(reduce: Callable[..., tf.Tensor]) -> Lowering:
    """NaN is the largest and the smallest, in features and series; pictures have none."""

    def lowering(operator: tf.Operation, x: tf.Tensor, axes: tf.Tensor) -> Any:
        if x.dtype != tf.float32 or x.shape.rank not in (1, 2, 3):
            return None
        keep = operator.get_attr("keep_dims")
        missing = tf.cast(tf.not_equal(x, x), tf.float32)
        found = tf.less(0.0, tf.reduce_max(missing, axes, keep))
        return tf.where(found, tf.reduce_sum(x, axes, keep), reduce(x, axes, keep))

    return lowering


def _larger(compute: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Lowering:
    """NaN wins in either place; the converter's own, of a constant and a number, has it so."""

    def lowering(_: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> Any:
        constant = any(tf.get_static_value(each) is not None for each in (x, y))
        if x.dtype != tf.float32 or constant or x.shape.rank not in (0, 1, 2, 3):
            return None
        known = tf.where(tf.equal(y, y), compute(x, y), y)
        return tf.where(tf.equal(x, x), known, x)

    return lowering


def _max_pool(operator: tf.Operation, x: tf.Tensor) -> Any:
    """NaN is never the largest, in series; pictures, of two sizes above 1, have none."""
    if not _pools_series(operator, x):
        return None
    return tf.nn.max_pool2d(tf.where(tf.equal(x, x), x, tf.float32.min), *_window(operator))


def _avg_pool(operator: tf.Operation, x: tf.Tensor) -> Any:
    """NaN is the mean of what has NaN, where XNNPACK gives -infinity; in series, as above."""
    if not _pools_series(operator, x):
        return None
    window = _window(operator)
    missing = tf.nn.max_pool2d(tf.cast(tf.not_equal(x, x), tf.float32), *window)
    known = tf.nn.avg_pool2d(tf.where(tf.equal(x, x), x, 0.0), *window)
    return tf.where(tf.less(0.0, missing), tf.constant(np.nan, tf.float32), known)


def _pools_series(operator: tf.Operation, x: tf.Tensor) -> bool:
    sizes = x.shape[1:3].as_list() if x.shape.rank == 4 else []
    return x.dtype == tf.float32 and 1 in sizes and operator.get_attr("data_format") == b"NHWC"


def _window(operator: tf.Operation) -> tuple[Any, Any, str]:
    padding = operator.get_attr("padding").decode()
    return operator.get_attr("ksize"), operator.get_attr("strides"), padding


def _depthwise(operator: tf.Operation, x: tf.Tensor, kernel: tf.Tensor) -> Any:
    """One of a single tap is a product: XNNPACK computes three taps, two of them 0 times the
    numbers that follow, which is NaN where these are infinite or NaN."""
    strides, padding = operator.get_attr("strides"), operator.get_attr("padding")
    if x.dtype != tf.float32 or kernel.shape[:2].as_list() != [1, 1] or kernel.shape[3] != 1:
        return None
    if {*strides} != {1} or padding == b"EXPLICIT" or operator.get_attr("data_format") != b"NHWC":
        return None
    return x * tf.reshape(kernel, [1, 1, 1, -1])


def _sum(_: tf.Operation, *terms: tf.Tensor) -> Any:
    """LiteRT's sum of many has no infinity."""
    if terms[0].dtype != tf.float32 or len(terms) < 2:
        return None
    return functools.reduce(tf.add, terms)


def _times(compute: Callable[[tf.Tensor], tf.Tensor]) -> Lowering:
    """Times a logarithm that is right; 0 for 0 times anything, as TensorFlow has it."""

    def lowering(_: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> Any:
        if x.dtype != tf.float32:
            return None
        product = x * tf.where(tf.equal(y, y), compute(y), y)
        return tf.where(tf.equal(x, 0.0), tf.zeros_like(product), product)

    return lowering


def _is_inf(_: tf.Operation, x: tf.Tensor) -> Any:
    return tf.logical_and(tf.logical_not(tf.math.is_finite(x)), tf.equal(x, x))


NUMBERS: dict[str, Lowering] = {
    "AddN": _sum,
    "AvgPool": _avg_pool,
    "Cast": _cast,
    "Cos": wave(tf.cos, _log),
    "DepthwiseConv2dNative": _depthwise,
    "Equal": _equal,
    "Exp": _kept(tf.exp),
    "Expm1": _kept(tf.math.expm1, zero=True),
    "FloorDiv": _floor_div,
    "FloorMod": _floor_mod,
    "IsInf": _is_inf,
    "Log": _kept(_log),
    "Log1p": _kept(_log1p, zero=True),
    "LogicalNot": folds.negation,
    "Max": _extreme(tf.reduce_max),
    "MaxPool": _max_pool,
    "Maximum": _larger(tf.maximum),
    "Min": _extreme(tf.reduce_min),
    "Minimum": _larger(tf.minimum),
    "Neg": _negative,
    "OneHot": _one_hot,
    "Pow": _power,
    "RealDiv": _divide,
    "Rsqrt": _rsqrt,
    "Selu": _kept(tf.nn.selu, zero=True),
    "Sin": wave(tf.sin, _log),
    "Softplus": _kept(_softplus),
    "Sqrt": _sqrt,
    "Sub": _minus,
    "Xlog1py": _times(_log1p),
    "Xlogy": _times(_log),
}
COMPARING = frozenset({*NUMBERS, *integers.INTEGERS, *folds.ORDERED})  # or whose entries do
