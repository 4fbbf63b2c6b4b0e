"""What a user's `preprocessing_fn` needs beside tf.Transform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeline.artifacts.features import MISSING_INT

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["fill_missing"]


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

    if value.dtype.is_floating:
        missing = tf.not_equal(value, value)
    elif value.dtype == tf.string:
        missing = tf.equal(value, "")
    else:
        missing = tf.equal(value, tf.constant(MISSING_INT, value.dtype))
    return tf.where(missing, tf.constant(default, value.dtype), value)
