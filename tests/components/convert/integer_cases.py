"""Operators on two columns of whole numbers; it imports TensorFlow, so tests import it in their
bodies."""

import numpy as np
import tensorflow as tf

TIMES = (1_700_000_000_000_000, -1_700_000_000_000_001, 86_400_000_000, 3_600_000_000)
ENDS = (*(-(2**n) for n in (63, 31, 15, 7)), *(2**n - 1 for n in (63, 32, 31, 16, 15, 8, 7)))
SMALL = (0, 1, -1, 2, -2, 3, -3, 5, -7, 8, 13, 31, 33, 63, 64, -100)


def pairs():
    """All pairs of the ends of every dtype, times in microseconds, small ones; [rows, 2]."""
    random = np.random.default_rng(3)
    bits = random.integers(-(2**63), 2**63 - 1, 20) >> random.integers(0, 60, 20)
    values = np.array([*ENDS, *TIMES, *SMALL, *(end + 1 for end in ENDS[:4]), *bits], np.int64)
    return np.stack([each.ravel() for each in np.meshgrid(values, values)], 1)


def _with(y, wrong, instead):
    """A column, its wrong numbers (of int64) replaced: LiteRT compares no other small ones."""
    wide = tf.cast(y, tf.int64)
    return tf.cast(tf.where(wrong(wide), tf.constant(instead, tf.int64), wide), y.dtype)


def _not_zero(y):
    return _with(y, lambda wide: tf.equal(wide, 0), 1)


def _exponent(y):
    return _with(y, lambda wide: wide < 0, 0)


OF_TWO = {
    "floordiv": lambda x, y: tf.math.floordiv(x, _not_zero(y)),
    "truncatediv": lambda x, y: tf.truncatediv(x, _not_zero(y)),
    "floormod": lambda x, y: tf.math.floormod(x, _not_zero(y)),
    "truncatemod": lambda x, y: tf.truncatemod(x, _not_zero(y)),
    "divide": lambda x, y: tf.cast(x / y, tf.float32),
    "pow": lambda x, y: tf.pow(x, _exponent(y)),
    "and": tf.bitwise.bitwise_and,
    "or": tf.bitwise.bitwise_or,
    "xor": tf.bitwise.bitwise_xor,
    "invert": lambda x, _: tf.bitwise.invert(x),
    "left shift": tf.bitwise.left_shift,
    "right shift": tf.bitwise.right_shift,
}
DAY = 86_400_000_000
OF_CONSTANTS = {
    "hour of day": lambda x: x % DAY // 3_600_000_000,
    "day of week": lambda x: (x // DAY + 4) % 7,
    "by 3": lambda x: x // 3,
    "by -1": lambda x: x // -1,
    "by the smallest": lambda x: x // tf.int64.min,
    "modulo -1": lambda x: x % -1,
    "share": lambda x: tf.cast(x / 1000, tf.float32),
    "share, written as a double": lambda x: tf.cast(tf.cast(x, tf.float64) / 86400e6, tf.float32),
    "of each": lambda x: x // tf.constant([7, -86_400_000_000], tf.int64),
    "cube": lambda x: x**3,
    "power 0": lambda x: x**0,
    "2 to the": lambda x: 2 ** tf.clip_by_value(x, 0, 70),
    "masked": lambda x: x & 0xFF,
    "shifted": lambda x: tf.bitwise.right_shift(x, tf.constant(7, tf.int64)),
    "shifted away": lambda x: tf.bitwise.right_shift(x, tf.constant([63, 64], tf.int64)),
    "shifted left": lambda x: tf.bitwise.left_shift(x, tf.constant([3, 64], tf.int64)),
}
# what TensorFlow has for some dtypes alone
ONLY = {
    "truncatemod": ("int64", "int32"),
    "pow": ("int64", "int32", "int16", "int8"),
}


def of_dtype(dtype):
    """The functions of two columns of int64, [rows, 2], computed in a dtype; all give int64."""

    def named(name):
        def function(x):
            columns = tf.cast(x[:, :1], dtype), tf.cast(x[:, 1:], dtype)
            result = OF_TWO[name](*columns)
            return result if result.dtype == tf.float32 else tf.cast(result, tf.int64)

        return function

    return {f"{name} {dtype}": named(name) for name in OF_TWO if dtype in ONLY.get(name, (dtype,))}


def differing(found, values):
    """Rows of which the answers differ, by function; quotients in float32 within two roundings."""
    wrong = {}
    for name, (cloud, edge) in found.items():
        assert edge.dtype == cloud.dtype, name
        assert edge.shape == cloud.shape, name
        rows = edge != cloud
        if cloud.dtype.kind == "f":
            rows = ~np.isclose(edge, cloud, rtol=2.4e-7, atol=0, equal_nan=True)
        if rows.any():
            wrong[name] = values[rows.any(axis=1)].tolist()
    return wrong
