"""Sine and cosine of large numbers, which LiteRT's kernels reduce with too few digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from edgeline.components.convert.lowering import Lowering

_REDUCED = 2.0**10  # above, XNNPACK's sine and cosine lose digits
_BITS = 38  # of a limb of 1 / 2 pi: times 25 bits of a mantissa, it fits an int64
_MOST = 104  # exponents of a float32 from that of 2**24 on


def wave(
    compute: Callable[[tf.Tensor], tf.Tensor], logarithm: Callable[[tf.Tensor], tf.Tensor]
) -> Lowering:
    """A sine or cosine, its argument less whole turns where it is large.

    With x = m 2**e, m a whole number below 2**25, the turns are m times the bits of 2**e / 2 pi
    below the point, of which two limbs are kept (Payne and Hanek, 1983).

    Args:
        compute: `tf.sin` or `tf.cos`, right for small arguments.
        logarithm: right for all positive floats.
    """

    def lowering(_: tf.Operation, x: tf.Tensor) -> Any:
        if x.dtype != tf.float32:
            return None
        size = tf.abs(x)
        large = tf.logical_and(tf.less(_REDUCED, size), tf.math.is_finite(x))
        safe = tf.where(large, size, tf.ones_like(x) * (2 * _REDUCED))
        exponents = tf.floor(logarithm(safe) * (1 / math.log(2)) - 0.01) - 23.0
        row = tf.cast(exponents, tf.int32) + 14
        mantissa = tf.cast(safe * tf.gather(_SCALES, row), tf.int64)
        limit = tf.constant(1 << _BITS, tf.int64)
        low = tf.cast(mantissa, tf.float32) * tf.gather(_LOW, row)
        turns = tf.math.floormod(mantissa * tf.gather(_HIGH, row), limit)
        angle = (tf.cast(turns, tf.float32) * 2.0**-_BITS + low) * (2 * math.pi)
        angle = tf.where(tf.less(x, 0.0), angle * -1.0, angle)
        found = tf.where(large, compute(angle), compute(tf.where(large, tf.zeros_like(x), x)))
        return tf.where(tf.equal(x, 0.0), x, found) if compute is tf.sin else found

    return lowering


def _limbs() -> tuple[Any, Any, Any]:
    """By exponent from -14 on: 2**-e, and the first two limbs of frac(2**e / 2 pi)."""
    digits = 400  # bits of 1 / 2 pi
    turn = _inverse_of_two_pi(digits)
    scales, high, low = [], [], []
    for exponent in range(-14, _MOST + 1):
        scales.append(2.0**-exponent)
        fraction = (turn << (exponent + 14)) % (1 << (digits + 14))
        first = fraction >> (digits + 14 - _BITS)
        second = (fraction >> (digits + 14 - 2 * _BITS)) % (1 << _BITS)
        high.append(first)
        low.append(second * 2.0 ** (-2 * _BITS))
    return np.array(scales, np.float32), np.array(high, np.int64), np.array(low, np.float32)


def _inverse_of_two_pi(bits: int) -> int:
    """floor(2**bits / (2 pi)), by Machin's formula."""
    one = 1 << (bits + 64)

    def arctan_of_inverse(n: int) -> int:
        power, total, k = one // n, 0, 0
        while power:
            total += (-power if k % 2 else power) // (2 * k + 1)
            power //= n * n
            k += 1
        return total

    pi = 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))
    return (one << bits) // (2 * pi)


_SCALES, _HIGH, _LOW = _limbs()
