"""Lowerings of whole numbers: what LiteRT has for int32 alone, or not at all, or computes
otherwise.

`INTEGERS` has one entry an operator (see `lowering.Lowering`). Each gives TensorFlow's value over
the whole domain of its dtype, with what wraps around wrapped. Where TensorFlow refuses (a divisor
of 0, a negative exponent) the edge model fails on that input, too. uint64 is left to the
converter, which names the operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from edgeline.components.convert.lowering import LOWERINGS, Lowering, Ratio, Value

# the dtype in which each is computed; what does not fit wraps around when it is cast back
WIDE = {
    tf.int8: tf.int32,
    tf.int16: tf.int32,
    tf.int32: tf.int32,
    tf.int64: tf.int64,
    tf.uint8: tf.int32,
    tf.uint16: tf.int32,
    tf.uint32: tf.int64,
}
_RIGHT = 22  # bits of a quotient of float32, whatever is rounded on the way
_BELOW = float(np.nextafter(np.float32(2**63), np.float32(0)))


def _in_wide(compute: Callable[[tf.Tensor, tf.Tensor], Any], native: tuple[tf.DType, ...]) -> Any:
    """A lowering that computes in a wide dtype; `native` ones are the converter's."""

    def lowering(_: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> Any:
        if x.dtype in native or x.dtype not in WIDE:
            return None
        wide = WIDE[x.dtype]
        result = compute(_cast(x, wide), _cast(y, wide))
        return None if result is None else _cast(result, x.dtype)

    return lowering


def _cast(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return x if x.dtype == dtype else tf.cast(x, dtype)


def _fits(y: tf.Tensor, *unfit: int) -> bool:
    """Whether it is constant and none of the unfit values."""
    value = tf.get_static_value(y)
    return value is not None and not np.isin(value, unfit).any()


# --- division -----------------------------------------------------------------------------------


def _floor_mod(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """LiteRT's ends its process for the smallest integer modulo -1."""
    if _fits(y, -1):
        return tf.math.floormod(x, y)
    return tf.math.floormod(tf.where(tf.equal(y, -1), tf.zeros_like(x), x), y)


def _guarded_mod(_: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> Any:
    if x.dtype not in WIDE or (_fits(y, -1) and not x.dtype.is_unsigned):
        return None
    wide = WIDE[x.dtype]
    return _cast(_floor_mod(_cast(x, wide), _cast(y, wide)), x.dtype)


def _floor_div(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor | None:
    if x.dtype == tf.int32:
        return tf.math.floordiv(x, y)
    return None if _constant_zero(y) else _quotient(x, y)


def _quotient(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """floor(x / y) of int64: quotients of floats, each of what the ones before it left.

    What is left in the end lies between -|y| and |y|, and is the remainder or one divisor off.
    """
    divisor = tf.cast(y, tf.float32)
    value = tf.get_static_value(y)
    least = 1 if value is None else float(np.min(np.abs(value.astype(np.float64))))
    quotient, rest = None, x
    for _ in range(math.ceil((65 - math.log2(least)) / _RIGHT)):
        part = tf.round(tf.cast(rest, tf.float32) / divisor)
        if least < 2:
            part = tf.minimum(tf.maximum(part, -_BELOW), _BELOW)
        whole = tf.cast(part, tf.int64)
        quotient = whole if quotient is None else quotient + whole
        rest = rest - whole * y
    assert quotient is not None
    return quotient - tf.cast(tf.not_equal(rest, _floor_mod(x, y)), tf.int64)


def _truncate_div(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor | None:
    """For int32, LiteRT gives the largest integer for the smallest by -1, which wraps around."""
    if x.dtype == tf.int32:
        if _fits(y, -1):
            return tf.truncatediv(x, y)
        inverse = tf.equal(y, -1)
        return tf.where(inverse, 0 - x, tf.truncatediv(x, tf.where(inverse, tf.ones_like(y), y)))
    if _constant_zero(y):
        return None
    return _quotient(x, y) + tf.cast(_above(x, y), x.dtype)


def _truncate_mod(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return _floor_mod(x, y) - tf.where(_above(x, y), y, tf.zeros_like(y))


def _above(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Whether x / y truncated is above its floor."""
    opposite = tf.not_equal(tf.less(x, 0), tf.less(y, 0))
    return tf.logical_and(opposite, tf.not_equal(_floor_mod(x, y), 0))


def _constant_zero(y: tf.Tensor) -> bool:
    value = tf.get_static_value(y)
    return value is not None and not np.all(value)


# --- true division, by way of float64, which LiteRT does not compute with -------------------------


def ratio(x: Value, y: Value) -> Value:
    """A quotient of integers that became float64, symbolic; None for other float64.

    A constant divisor may be written as a float64 that is whole, such as `86400e6`.
    """
    y = y if isinstance(y, Ratio) else _whole(y)
    if not all(isinstance(each, Ratio) and each.divisor is None for each in (x, y)):
        return None
    return None if _constant_zero(y.number) else Ratio(x.number, y.number)


def _whole(y: tf.Tensor) -> Ratio | None:
    """A constant of whole numbers that float64 and int64 both hold."""
    value = tf.get_static_value(y)
    if value is None or not np.all((np.abs(value) < 2.0**53) & (np.rint(value) == value)):
        return None
    return Ratio(tf.constant(value.astype(np.int64)))


def cast(x: Value, to: tf.DType) -> Value:
    """Integers to float64 stay symbolic, and a quotient of them becomes a float32."""
    if isinstance(x, Ratio):
        return _divided(x.number, x.divisor) if x.divisor is not None and to == tf.float32 else None
    return Ratio(x) if to == tf.float64 and x.dtype in WIDE else None


def _divided(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """x / y in float32: the whole part, exact, and what is left of it."""
    x, y = tf.cast(x, tf.int64), tf.cast(y, tf.int64)
    if _fits(y, 0, -1):
        return _parts(x, y)
    plain = tf.logical_or(tf.equal(y, 0), tf.equal(y, -1))  # infinite, or its whole part wraps
    ratio = tf.cast(x, tf.float32) / tf.cast(y, tf.float32)
    return tf.where(plain, ratio, _parts(x, tf.where(plain, tf.ones_like(y), y)))


def _parts(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    whole = _quotient(x, y) + tf.cast(_above(x, y), tf.int64)
    left = tf.cast(x - whole * y, tf.float32) / tf.cast(y, tf.float32)
    return tf.cast(whole, tf.float32) + left


# --- powers -------------------------------------------------------------------------------------


def _power(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor | None:
    """Squares of the base, multiplied by the bits of the exponent."""
    exponent = tf.get_static_value(y)
    if exponent is None or exponent.ndim:
        return _any_power(x, y)
    if exponent < 0:
        return None
    result, square, left = None, x, int(exponent)
    while left:
        if left % 2:
            result = square if result is None else result * square
        left //= 2
        square = square * square if left else square
    return tf.ones_like(x) if result is None else result


def _any_power(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """LiteRT has no assertion: for a negative exponent the remainder by 0 fails."""
    allowed = tf.math.floormod(
        tf.ones_like(y), tf.cast(tf.less(tf.constant(-1, y.dtype), y), y.dtype)
    )
    exponents = tf.cast(tf.bitcast(y + allowed + tf.zeros_like(x), tf.int16), tf.int32)
    square, result = x * tf.ones_like(y), tf.ones_like(x)
    for place in range(x.dtype.size // 2):
        squares = []
        for _ in range(16):
            squares.append(square)
            square = square * square
        shifted = tf.bitwise.right_shift(exponents[..., place, None], tf.range(16))
        odd = tf.equal(tf.math.floormod(shifted, 2), 1)
        factors = tf.stack(squares, -1)
        result = result * tf.reduce_prod(tf.where(odd, factors, tf.ones_like(factors)), -1)
    return result


# --- bits ---------------------------------------------------------------------------------------


def _and(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """x + y is x ^ y and twice the bits that both have; of 16 bits each it fits an int32."""
    twice = x + y - tf.bitwise.bitwise_xor(x, y)
    return tf.bitwise.right_shift(twice, tf.ones_like(twice))


def _or(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return x + y - _and(x, y)


def _by_parts(compute: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], part: tf.DType) -> Any:
    """What is computed bit by bit, of parts that LiteRT computes with."""

    def whole(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        x_parts, y_parts = (_cast(tf.bitcast(each, part), tf.int32) for each in (x, y))
        return tf.bitcast(_cast(compute(x_parts, y_parts), part), x.dtype)

    return whole


def _invert(_: tf.Operation, x: tf.Tensor) -> Any:
    if x.dtype not in WIDE:
        return None
    ones = x.dtype.max if x.dtype.is_unsigned else -1
    return _cast(ones - _cast(x, WIDE[x.dtype]), x.dtype)


def _left_shift(_: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> Any:
    if x.dtype not in WIDE:
        return None
    wide, bits = WIDE[x.dtype], 8 * x.dtype.size
    return _cast(_cast(x, wide) * _power_of_two(_cast(y, wide), bits - 1), x.dtype)


def _right_shift(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Of int64; 2**63 is none, so it takes two steps."""
    shifted = _quotient(x, _power_of_two(y, 62))
    value = tf.get_static_value(y)
    if value is not None and np.all(value < 63):
        return shifted
    return tf.where(tf.less(y, 63), shifted, _quotient(shifted, tf.constant(2, tf.int64)))


def _power_of_two(exponent: tf.Tensor, most: int) -> tf.Tensor:
    """TensorFlow shifts by at least 0 and at most all bits but one."""
    dtype = exponent.dtype
    powers = np.array([1 << n for n in range(most + 1)], np.uint64).astype(dtype.as_numpy_dtype)
    if (value := tf.get_static_value(exponent)) is not None:
        return tf.constant(powers[np.clip(value, 0, most)])
    return tf.gather(powers, tf.minimum(tf.maximum(exponent, 0), most))


def compared(compare: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Lowering:
    """A comparison of small or unsigned integers: LiteRT refuses it, or ends the process."""

    def lowering(operator: tf.Operation, x: Value, y: Value) -> Any:
        if not (isinstance(x, tf.Tensor) and isinstance(y, tf.Tensor)):
            return LOWERINGS[operator.type](operator, x, y)  # of strings
        if x.dtype == WIDE.get(x.dtype, x.dtype):
            return None
        return compare(tf.cast(x, WIDE[x.dtype]), tf.cast(y, WIDE[x.dtype]))

    return lowering


SMALL = (tf.int8, tf.int16, tf.uint8, tf.uint16)

INTEGERS: dict[str, Lowering] = {
    "BitwiseAnd": _in_wide(_by_parts(_and, tf.int16), ()),
    "BitwiseOr": _in_wide(_by_parts(_or, tf.int16), ()),
    "BitwiseXor": _in_wide(
        _by_parts(tf.bitwise.bitwise_xor, tf.int32), (*SMALL, tf.int32, tf.uint32)
    ),
    "FloorDiv": _in_wide(_floor_div, (tf.int32,)),
    "FloorMod": _guarded_mod,
    "Greater": compared(tf.greater),
    "GreaterEqual": compared(tf.greater_equal),
    "Invert": _invert,
    "LeftShift": _left_shift,
    "Less": compared(tf.less),
    "LessEqual": compared(tf.less_equal),
    "NotEqual": compared(tf.not_equal),
    "Pow": _in_wide(_power, ()),
    "RightShift": _in_wide(_right_shift, (*SMALL, tf.int32, tf.uint32)),
    "TruncateDiv": _in_wide(_truncate_div, ()),
    "TruncateMod": _in_wide(_truncate_mod, ()),
}
