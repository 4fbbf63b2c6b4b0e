"""Compiled models take the columns of the data under their names, whatever these are."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.components.compile import forms
from edgeline.components.compile.target import Source
from edgeline.components.convert import column_names
from edgeline.formats.signature_names import told_apart

pytestmark = pytest.mark.slow

NAMES = ["Fare (€)", "class", "image/encoded", "a,b", "größe", "A", "a"]
ROWS = {name: np.full([3, 1], 10.0**place, np.float32) for place, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A SavedModel and a LiteRT file that add up what their inputs weigh, each its own."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("named")
    written = told_apart(NAMES).values()
    weights = {name: float(place + 1) for place, name in enumerate(written)}

    @tf.function(autograph=False)
    def total(**inputs):
        return {"prediction": tf.add_n([weights[name] * x for name, x in inputs.items()])}

    module = tf.Module()
    specs = {name: tf.TensorSpec([None, 1], tf.float32, name) for name in weights}
    module.total = total.get_concrete_function(**specs)
    saved = folder / "saved_model"
    tf.saved_model.save(module, str(saved), signatures={"serving_default": module.total})
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved), signature_keys=["serving_default"]
    )
    (folder / "model.tflite").write_bytes(column_names.model(converter.convert()))
    return folder


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize("form", ["tflite", "saved_model"])
def test_each_input_has_its_name_and_its_weight(named, compiled, target, form):
    path = named / ("model.tflite" if form == "tflite" else "saved_model")
    _, runtime = compiled(target, Source(**{form: path}))
    assert {tensor.name for tensor in runtime.signature.inputs} == set(NAMES)
    expected = sum((place + 1) * 10.0**place for place in range(len(NAMES)))
    answer = runtime(ROWS)["prediction"]
    np.testing.assert_allclose(answer, np.full([3, 1], expected), rtol=1e-6)
    np.testing.assert_allclose(answer, forms.litert(named / "model.tflite")(ROWS)["prediction"])
