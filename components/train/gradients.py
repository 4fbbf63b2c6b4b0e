"""The norm of a training's gradients, as the optimizer gets them.

No callback sees a gradient, and a train step of our own would take the place of one that
build_model may bring. What every step calls is the optimizer's `apply`: while a training lasts it
first adds the norm to a sum in the graph, which is read once per call of the graph, however many
steps that makes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline.components.train import optimising
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

NORM = "gradient_norm"  # among the numbers of an epoch
SMALL = 1 << 20  # numbers of a table


class GradientNorms:
    """The norms of the steps so far, as their sum and count."""

    def __init__(self) -> None:
        import tensorflow as tf

        self._sums = tf.Variable([0.0, 0.0], dtype=tf.float64, trainable=False)
        self._read = np.zeros(2)

    def add(self, gradients: Iterable[Any], scale: float) -> None:
        """Count a step, in its graph.

        Args:
            gradients: tensors, `tf.IndexedSlices` or None.
            scale: what the loss was multiplied by.
        """
        import tensorflow as tf

        halves = [
            tf.nn.l2_loss(tf.cast(_whole(each), tf.float32))
            for each in gradients
            if each is not None
        ]
        if halves:
            norm = tf.sqrt(2 * tf.add_n(halves)) / scale
            self._sums.assign_add(tf.cast(tf.stack([norm, 1.0]), tf.float64))

    def restart(self) -> None:
        """Begin a sum anew, so that an epoch's numbers are the same after an interruption."""
        self._sums.assign([0.0, 0.0])
        self._read = np.zeros(2)

    def mean(self) -> float:
        """Of the steps since this was asked last; NaN where there was none, or one not finite."""
        now = self._sums.numpy()
        total, steps = now - self._read
        self._read = now
        if not np.isfinite(total):  # no later sum would be finite, either
            self.restart()
        return float(total / steps) if steps else np.nan


@contextlib.contextmanager
def watched_gradients(model: keras.Model) -> Iterator[GradientNorms]:
    """Watch what the optimizer of a model gets, in steps whose graph is made in this context.

    The norm is the Euclidean one of all gradients of a step together, before the optimizer clips
    them.

    Raises:
        EdgelineError: it is a tf_keras model, or trains on several replicas, whose gradients are
            added where nobody sees them.
    """
    legacy = optimising.is_legacy(model)
    if legacy or model.distribute_strategy.num_replicas_in_sync > 1:
        what = "a tf_keras model" if legacy else "a model that trains on several replicas"
        raise EdgelineError(
            f"Parameter 'gradient_norms' is true, but build_model gave {what}, whose gradients "
            "cannot be watched: set it to false."
        )
    optimizer = model.optimizer
    while (inner := getattr(optimizer, "inner_optimizer", None)) is not None:
        optimizer = inner  # which gets what is divided by the scale of the loss
    norms, apply = GradientNorms(), optimizer.apply

    def counted(gradients: Any, *arguments: Any, **named: Any) -> Any:
        gradients = list(gradients)
        norms.add(gradients, float(optimizer.loss_scale_factor or 1.0))
        return apply(gradients, *arguments, **named)

    optimizer.apply = counted
    try:
        yield norms
    finally:
        vars(optimizer).pop("apply")


def _whole(gradient: Any) -> tf.Tensor:
    """A gradient as a tensor of the same norm: of rows of a table, those of one row are added."""
    import tensorflow as tf

    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    if (gradient.shape.num_elements() or SMALL + 1) <= SMALL:
        return tf.convert_to_tensor(gradient)  # as most optimizers do, too
    order = tf.argsort(gradient.indices)
    rows = tf.gather(gradient.indices, order)
    new = tf.concat([[0], tf.cast(rows[1:] != rows[:-1], tf.int32)], 0)
    values = tf.gather(gradient.values, order)
    return tf.math.unsorted_segment_sum(values, tf.cumsum(new), tf.size(order))
