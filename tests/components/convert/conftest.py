"""What the tests of convert share."""

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.runtimes import child


@pytest.fixture
def in_this_process(monkeypatch):
    """Convert in this process, where TensorFlow is imported already."""

    def call(function, *arguments, memory, time_limit=900):
        assert time_limit > 0 and memory > 0
        return function(len, *arguments)

    monkeypatch.setattr(child, "call", call)


@pytest.fixture(scope="session")
def pictures():
    return np.random.default_rng(5).uniform(-1, 1, [40, 12, 12, 3]).astype(np.float32)


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """A `model/v1` with `serving_default` alone, from pictures to four probabilities."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(2)
    layers = keras.Sequential(
        [
            keras.Input([12, 12, 3]),
            keras.layers.Conv2D(8, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(6.0),
            keras.layers.DepthwiseConv2D(3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, activation="softmax", kernel_initializer="random_normal"),
        ]
    )
    module = tf.Module()
    module.layers = layers
    serve = tf.function(lambda image: {"prediction": layers(image)}, autograph=False)
    folder = tmp_path_factory.mktemp("pictures") / "model"
    with artifacts.writing(folder, models.SCHEMA) as draft:
        signature = serve.get_concrete_function(tf.TensorSpec([None, 12, 12, 3], name="image"))
        tf.saved_model.save(module, str(draft.path / "saved_model"), {models.SERVING: signature})
        draft.metadata["features"] = [
            {"name": "image", "dtype": "float32", "shape": [12, 12, 3]},
        ]
    return folder
