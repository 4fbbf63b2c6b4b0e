"""A small image network in the forms that compilers take, and a maker of compiled models."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgeline.components.compile.target import Source, find
from edgeline.formats.quantisation import of
from edgeline.runtimes import child

sys.path.append(str(Path(__file__).parents[2] / "data"))  # make_onnx.py

CORAL = Path(__file__).parents[2] / "data" / "coral"


@pytest.fixture
def in_this_process(monkeypatch):
    """Compilers run here, where TensorFlow is imported already."""

    def call(function, *arguments, memory, time_limit=900):
        assert time_limit > 0 and memory > 0
        return function(len, *arguments)

    monkeypatch.setattr(child, "call", call)


@pytest.fixture
def compiled(tmp_path):
    """Compiles a source for a target: what the compiler says, and the model where it runs."""

    def run(name, source, **options):
        target = find(name)
        settings = {option.name: option.default for option in target.options} | options
        made = target.compile(source, tmp_path, settings)
        return made, target.load(tmp_path, made) if target.load else None

    return run


@pytest.fixture(scope="session")
def cnn(tmp_path_factory) -> Path:
    """`saved_model`, and `float`, `dynamic`, `int8` (integers in and out) as .tflite."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("cnn")

    class Network(tf.Module):
        def __init__(self):
            super().__init__()
            shapes = [[3, 3, 1, 8], [3, 3, 8, 16], [576, 10]]
            self.weights = [
                tf.Variable(0.3 * tf.random.stateless_normal(shape, [place, 7]))
                for place, shape in enumerate(shapes)
            ]

        @tf.function(input_signature=[tf.TensorSpec([None, 28, 28, 1], name="image")])
        def serve(self, image):
            first, second, last = self.weights
            hidden = tf.nn.relu(tf.nn.conv2d(image, first, 1, "VALID"))
            hidden = tf.nn.max_pool2d(hidden, 2, 2, "VALID")
            hidden = tf.nn.relu(tf.nn.conv2d(hidden, second, 2, "VALID"))
            return {"prediction": tf.nn.softmax(0.2 * tf.reshape(hidden, [-1, 576]) @ last)}

    network, images = Network(), np.random.default_rng(1).random((20, 1, 28, 28, 1), np.float32)
    path = str(folder / "saved_model")
    tf.saved_model.save(network, path, signatures={"serving_default": network.serve})
    for quantisation in ("float", "dynamic", "int8"):
        converter = tf.lite.TFLiteConverter.from_saved_model(path)
        if quantisation != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantisation == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.representative_dataset = lambda: ([image] for image in images)
            converter.inference_input_type = converter.inference_output_type = tf.int8
        (folder / f"{quantisation}.tflite").write_bytes(converter.convert())
    return folder


@pytest.fixture
def source(cnn):
    """The network as a source of a quantisation, or a model of Coral's."""

    def make(quantisation):
        return Source(tflite=cnn / f"{quantisation}.tflite", quantisation=of(quantisation))

    return make


@pytest.fixture(scope="session")
def coral() -> Path:
    """Models that Google quantised for the Edge TPU."""
    return CORAL
