"""Functions with gradients of their own; tests import this in their bodies: it needs TensorFlow."""

import numpy as np
import tensorflow as tf

from edgeline import artifacts
from edgeline.artifacts import models

WEIGHTS = tf.Variable(np.random.default_rng(4).normal(0, 1, [4, 4]).astype(np.float32))
SCALES = tf.constant(np.linspace(0.5, 2, 4, dtype=np.float32))


@tf.custom_gradient
def clipped(x):
    y = tf.maximum(x, 0.0)
    return y, lambda g: tf.clip_by_value(g, -1.0, 1.0) * tf.cast(y > 0, tf.float32)


@tf.custom_gradient
def nested(x):
    y = clipped(x) * SCALES + tf.nn.silu(x)
    return y, lambda g: g * y * SCALES


@tf.custom_gradient
def weighted(x, variables=None):  # noqa: ARG001 - TensorFlow looks for this name
    y = x @ WEIGHTS

    def gradient(g, variables=None):  # noqa: ARG001
        return g @ tf.transpose(WEIGHTS), [tf.transpose(x) @ g]

    return y, gradient


@tf.custom_gradient
def pair(x, number):
    return (x * number, x - number), lambda a, b: (a * number + b, None)


def loop(x):
    def step(count, value):
        inner = tf.cond(tf.shape(value)[1] > 3, lambda: clipped(value), lambda: value)
        return count + 1, tf.nn.silu(inner + 1)

    return tf.while_loop(lambda count, _: count < 3, step, [0, x])[1]


def branch(x):
    positive = tf.shape(x)[0] > 0
    return tf.cond(positive, lambda: tf.nn.silu(x), lambda: clipped(x))


called = tf.function(
    lambda x: tf.nn.silu(x) * clipped(x),
    autograph=False,
    experimental_attributes={"_noinline": True},
)
compiled = tf.function(lambda x: nested(x) + 1, autograph=False, jit_compile=True)
FUNCTIONS = {
    "silu": lambda x: tf.nn.silu(x, beta=1.5),
    "own": clipped,
    "nested": nested,
    "weighted": weighted,
    "pair": lambda x: tf.multiply(*pair(x, 3.0)),
    "recomputed": tf.recompute_grad(lambda x: tf.nn.silu(x @ WEIGHTS)),
    "passed": lambda x: tf.grad_pass_through(tf.floor)(x) + tf.stop_gradient(x),
    "loop": loop,
    "branch": branch,
    "called": called,
    "compiled": compiled,
    "gelu": tf.nn.gelu,
    "relu6": tf.nn.relu6,
}


def save(folder, function, shape, owner):
    """A `model/v1` with `serving_default` alone."""
    serve = tf.function(function, autograph=False)
    module = tf.Module()
    module.function, module.owner = serve, owner
    with artifacts.writing(folder, models.SCHEMA) as draft:
        signature = serve.get_concrete_function(tf.TensorSpec([None, *shape], name="x"))
        tf.saved_model.save(module, str(draft.path / "saved_model"), {models.SERVING: signature})
        draft.metadata["features"] = [{"name": "x", "dtype": "float32", "shape": [*shape]}]
    return folder
