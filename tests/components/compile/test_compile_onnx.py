"""The target onnx: equal to its source in every form, and operators by name where it cannot."""

import numpy as np
import pytest
from make_onnx import filling_onnx

from edgeline.artifacts.differences import Gap
from edgeline.components.compile import forms
from edgeline.components.compile.compile import compile_edge_model
from edgeline.components.compile.target import Source
from edgeline.components.import_model.import_model import import_model
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import FLOAT, INT8
from edgeline.runtimes import child

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("quantisation", "most"), [("float", 1e-6), ("dynamic", 0.02), ("int8", 0)]
)
def test_a_litert_model_gives_the_same_answers(source, compiled, quantisation, most):
    model = source(quantisation)
    made, runtime = compiled("onnx", model)
    reference = forms.litert(model.tflite)
    assert runtime.signature == reference.signature
    assert forms.difference(reference, runtime, forms.sample(reference.signature)).max <= most
    assert made.facts["made_of"] == "tflite"
    assert made.notes == ()


@pytest.mark.usefixtures("in_this_process")
def test_a_saved_model_without_a_litert_file(cnn, compiled):
    made, runtime = compiled("onnx", Source(saved_model=cnn / "saved_model"))
    image = np.ones((3, 28, 28, 1), np.float32)
    expected = forms.litert(cnn / "float.tflite")({"image": image})["prediction"]
    np.testing.assert_allclose(runtime({"image": image})["prediction"], expected, atol=1e-6)
    assert made.facts["made_of"] == "saved_model"


@pytest.mark.usefixtures("in_this_process")
def test_a_real_quantised_network_keeps_its_names_and_scales(coral, compiled):
    path = coral / "mobilenet_v1_0.25_128_quant.tflite"
    _, runtime = compiled("onnx", Source(tflite=path, quantisation=INT8))
    [image] = runtime.signature.inputs
    assert (image.dtype, image.scale, image.zero_point) == ("uint8", 0.0078125, 128)


@pytest.mark.usefixtures("in_this_process")
def test_an_operator_that_onnx_lacks_is_named(coral, compiled):
    path = coral / "keras_lstm_mnist_ptq.tflite"
    with pytest.raises(EdgelineError, match="tf2onnx does not know UNIDIRECTIONAL_SEQUENCE_LSTM"):
        compiled("onnx", Source(tflite=path, quantisation=INT8))


def test_what_is_not_installed_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert forms.missing("onnxsim") == (
        "Package onnxsim is not installed: pip install 'edgeline[onnx]'"
    )


def test_another_function_than_the_source_is_refused():
    with pytest.raises(EdgelineError, match=r"on made-up rows is 0\.5 of .*, above 0\.1"):
        forms.require_equal(Gap(0.9, 0.1, 0.5), INT8, "The model")
    with pytest.raises(EdgelineError, match="is nan"):
        forms.require_equal(Gap(0.0, 0.0, float("nan")), FLOAT, "The model")


@pytest.mark.usefixtures("in_this_process")
def test_a_value_that_is_not_selected_does_not_spoil_the_answer(tmp_path, compiled):
    """tf2onnx would select by multiplying: NaN times 0 is NaN; and compare strings as numbers."""
    import tensorflow as tf

    class Filled(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 1], tf.float32, name="fare"),
                tf.TensorSpec([None, 1], tf.string, name="kind"),
            ]
        )
        def serve(self, fare, kind):
            known = tf.where(kind == "Cash", 1.0, 2.0)
            near = tf.where(fare > 10.0, tf.math.log1p(fare), tf.math.expm1(-fare))
            return {"prediction": tf.where(fare == fare, near, -1.0) + known}

    module = Filled()
    path = str(tmp_path / "filled")
    tf.saved_model.save(module, path, signatures={"serving_default": module.serve})
    _, runtime = compiled("onnx", Source(saved_model=tmp_path / "filled"))
    rows = {
        "fare": np.float32([[np.nan], [20], [1e-3], [np.inf]]),
        "kind": np.array([[b"Cash"], [b""], [b"Cash"], [b"\xff"]], object),
    }
    expected = module.serve(tf.constant(rows["fare"]), tf.constant(rows["kind"].tolist()))
    np.testing.assert_allclose(
        runtime(rows)["prediction"], expected["prediction"].numpy(), rtol=1e-6
    )


def test_a_small_file_that_fills_the_memory_ends_a_child(tmp_path, monkeypatch):
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)  # a fork is enough for this
    monkeypatch.setenv("EDGELINE_MODEL_MEMORY", "500M")
    import_model(str(filling_onnx(tmp_path / "filling.onnx")), str(tmp_path / "model"))
    with pytest.raises(EdgelineError, match=r"exceeded 500,000,000 bytes of memory"):
        compile_edge_model("onnx", str(tmp_path / "compiled"), str(tmp_path / "model"))
    assert not (tmp_path / "compiled").exists()
