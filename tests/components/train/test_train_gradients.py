"""The norm of gradients is the true one, and watching it changes nothing."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest

from edgeline.components.train import fitting, gradients, steps
from edgeline.components.train.gradients import GradientNorms, watched_gradients
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow  # imports Keras
OPTIMIZERS = ("SGD", "clipped", "scaled", "factor", "accumulated")
ROWS = 8


def network(optimizer: str = "SGD"):
    """Logistic regression that begins at 0, on a word's vector and two numbers."""
    import keras

    word, numbers = keras.Input((1,), name="word", dtype="int64"), keras.Input((2,), name="x")
    vector = keras.layers.Flatten()(keras.layers.Embedding(5, 3, name="vectors")(word))
    # Keras cannot divide the gradients of a table by a factor
    joined = numbers if optimizer == "factor" else keras.layers.Concatenate()([vector, numbers])
    out = keras.layers.Dense(1, "sigmoid", kernel_initializer="ones", name="out")(joined)
    model = keras.Model({"word": word, "x": numbers}, out)
    given = {
        "SGD": lambda: keras.optimizers.SGD(0.1),
        "clipped": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.01),
        "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
        "factor": lambda: keras.optimizers.SGD(0.1, loss_scale_factor=64.0),
        "accumulated": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    }
    model.compile(given[optimizer](), "binary_crossentropy")
    return model


def batch():
    random = np.random.default_rng(0)
    x = {
        "word": np.array([[0], [1], [1], [1], [4], [4], [2], [0]]),
        "x": random.normal(size=(8, 2)),
    }
    return x, np.array([[0], [1], [1], [0], [1], [0], [0], [1]])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_norm_is_that_of_the_gradients_before_clipping_and_scaling(optimizer):
    import tensorflow as tf

    model, (x, y) = network(optimizer), batch()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.compute_loss(x, y, model(x, training=True)))
    found = tape.gradient(loss, [each.value for each in model.trainable_variables])
    dense = [tf.convert_to_tensor(each).numpy() for each in found]  # adds what is of the same row
    with watched_gradients(model) as norms:
        model.fit(x, y, batch_size=ROWS, epochs=1, verbose=0)
        assert norms.mean() == pytest.approx(math.sqrt(sum((g**2).sum() for g in dense)), rel=1e-5)
        assert math.isnan(norms.mean())  # of no step
    assert "apply" not in vars(model.optimizer)


def test_what_is_watched_learns_the_same_bits(monkeypatch):
    import keras

    def trained() -> list[bytes]:
        keras.utils.set_random_seed(1)
        model, (x, y) = network(), batch()
        with gradients.watched_gradients(model):
            model.fit(x, y, batch_size=4, epochs=3, verbose=0)
        return [array.tobytes() for array in model.get_weights()]

    watched = trained()
    monkeypatch.setattr(gradients, "watched_gradients", lambda _: contextlib.nullcontext())
    assert trained() == watched


@pytest.mark.parametrize("small", [1 << 20, 1])
def test_rows_of_a_table_that_come_twice_are_added(small, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(gradients, "SMALL", small)
    values = tf.constant([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]])
    slices = tf.IndexedSlices(values, tf.constant([4, 1, 4], tf.int64), tf.constant([6, 2]))
    found = gradients._whole(slices)
    assert sorted(each for each in found.numpy().ravel() if each) == [4, 8, 17, 34]


def test_what_cannot_be_watched_is_refused(monkeypatch):
    monkeypatch.setattr(gradients.optimising, "is_legacy", lambda _: True)
    with (
        pytest.raises(EdgelineError, match="gradient_norms' is true, but build_model gave a tf_k"),
        watched_gradients(network()),
    ):
        pass


def test_one_norm_that_is_not_finite_is_one_point_without_a_norm():
    import tensorflow as tf

    norms, seen = GradientNorms(), []
    for value in (3.0, math.inf, 4.0):
        norms.add([tf.constant([value, 0.0]), None], 1.0)
        seen.append(norms.mean())
    assert seen[0] == 3 and not math.isfinite(seen[1]) and seen[2] == 4


def test_a_checkpoint_of_before_has_points_and_epochs_without_a_norm():
    state = fitting.FittingState(1, 1, {"loss": [0.5], "val_loss": [0.4]}, [[10.0, 0.5, 0.01]])
    steps.watched(state.by_step, 10, 4, steps.StepTimes())
    assert state.by_step[0][:3] == [10.0, 0.5, 0.01] and math.isnan(state.by_step[0][3])
    fitting._advance(state, {"loss": [0.3], "val_loss": [0.3], "gradient_norm": [2.0]})
    norms = state.history["gradient_norm"]
    assert math.isnan(norms[0]) and norms[1] == 2
