"""Missing values of raw features, filled or found inside the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeline.artifacts.features import MISSING_INT

if TYPE_CHECKING:
    import tensorflow as tf


def fill_missing(value: tf.Tensor, default: object) -> tf.Tensor:
    """Replace missing values of a raw feature inside the graph.

    Args:
        value: a raw feature, float32 (missing is NaN), int64 (missing is -2**63)
            or string (missing is the empty string), of any shape.
        default: what stands for a missing value, of the tensor's kind.

    Returns:
        A tensor of the same shape and dtype without missing values.
    """
    import tensorflow as tf

    return tf.where(is_missing(value), tf.constant(default, value.dtype), value)


def is_missing(value: tf.Tensor) -> tf.Tensor:
    """Where a raw feature is missing, as bool of its shape."""
    import tensorflow as tf

    if value.dtype.is_floating:
        return tf.not_equal(value, value)
    if value.dtype == tf.string:
        return tf.equal(value, "")
    return tf.equal(value, tf.constant(MISSING_INT, value.dtype))
