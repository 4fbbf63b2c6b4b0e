"""Conversion of models that nobody trained here: a network alone, rows given as arrays."""

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.components.convert.convert import convert_arrays
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.runtimes import interpreter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def imported(network, tmp_path_factory):
    """The same with a transform, as pretrained models come: half of each value."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(network / "saved_model"))
    module = tf.Module()
    module.loaded = loaded

    def transform(image):
        return {"halved": (image - 0.0) / tf.sqrt(4.0)}

    def predict(halved):
        return loaded.signatures[models.SERVING](image=halved * 2)

    shape = [None, 12, 12, 3]
    image, halved = tf.TensorSpec(shape, name="image"), tf.TensorSpec(shape, name="halved")
    functions = {
        models.SERVING: (lambda image: predict(**transform(image)), image),
        models.TRANSFORM: (transform, image),
        models.PREDICT_TRANSFORMED: (predict, halved),
    }
    folder = tmp_path_factory.mktemp("imported") / "model"
    with artifacts.writing(folder, models.SCHEMA) as draft:
        signatures = {
            name: tf.function(function, autograph=False).get_concrete_function(spec)
            for name, (function, spec) in functions.items()
        }
        tf.saved_model.save(module, str(draft.path / "saved_model"), signatures)
        draft.metadata["features"] = [{"name": "image", "dtype": "float32", "shape": [12, 12, 3]}]
    return folder


def run(network, folder, rows, **parameters):
    done = convert_arrays(
        str(network), {"image": rows}, str(folder / "edge"), str(folder / "r.html"), **parameters
    )
    return done, interpreter.load(folder / "edge" / "model.tflite")


@pytest.mark.usefixtures("in_this_process")
def test_pictures_go_in_and_the_batch_is_free(network, pictures, tmp_path):
    done, edge = run(network, tmp_path, pictures, quantisation="float")
    assert done.metadata["task"] is None
    assert done.metadata["representative"] == {"split": None, "rows": 40}
    assert done.metadata["difference"]["prediction"]["max"] < 1e-6
    assert edge.signature.inputs[0].shape == (-1, 12, 12, 3)
    assert edge.invoke({"image": pictures[:3]})["prediction"].shape == (3, 4)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    "quantisation",
    [
        pytest.param("float", marks=pytest.mark.long),
        pytest.param("dynamic", marks=pytest.mark.long),
        "int8",
    ],
)
def test_large_weights_are_no_constants_of_the_graph_and_change_nothing(
    imported, pictures, tmp_path, monkeypatch, quantisation
):
    from edgeline.components.convert import freezing

    found = []
    for folder, limit in (("constants", 1 << 30), ("variables", 1)):
        monkeypatch.setattr(freezing, "WEIGHT_BYTES", limit)
        (tmp_path / folder).mkdir()
        _, edge = run(imported, tmp_path / folder, pictures, quantisation=quantisation)
        operators = (tmp_path / folder / "edge" / "operators.json").read_text()
        found.append((edge({"image": pictures})["prediction"], operators))
    assert np.array_equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]


def test_a_graph_without_its_large_weights_is_small(tmp_path):
    import tensorflow as tf

    from edgeline.components.convert import replay

    module = tf.Module()
    module.kernel = tf.Variable(tf.random.normal([512, 256]))
    serve = tf.function(lambda x: {"y": tf.matmul(x, module.kernel)}, autograph=False)
    signature = serve.get_concrete_function(tf.TensorSpec([None, 512], name="x"))
    tf.saved_model.save(module, str(tmp_path), {models.SERVING: signature})
    loaded = tf.saved_model.load(str(tmp_path))
    lowered = replay.lower(loaded.signatures[models.SERVING])
    assert lowered.function.graph.as_graph_def().ByteSize() < 10_000 < module.kernel.numpy().nbytes
    rows = tf.random.normal([3, 512])
    assert np.array_equal(lowered.function(x=rows)["y"], tf.matmul(rows, module.kernel))


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("io", ["float", "int8", "uint8"])
def test_inputs_and_outputs_have_the_dtype_asked_for(network, pictures, tmp_path, io):
    done, edge = run(network, tmp_path, pictures, quantisation="int8", io=io, batch=1)
    [image], [prediction] = edge.signature.inputs, edge.signature.outputs
    assert image.shape == (1, 12, 12, 3) and prediction.shape == (1, 4)
    assert image.dtype == prediction.dtype == {"float": "float32"}.get(io, io)
    assert done.metadata["difference"]["prediction"]["max"] < 0.02
    if io != "float":
        assert image.scale == pytest.approx(2 / 255, rel=0.01)
        assert (prediction.scale, prediction.zero_point) == (
            1 / 256,
            {"int8": -128, "uint8": 0}[io],
        )


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_have_a_scale_a_channel_or_one(network, pictures, tmp_path, per_channel):
    run(network, tmp_path, pictures, quantisation="int8", per_channel=per_channel)
    graph = tflite.read(tmp_path / "edge" / "model.tflite").subgraphs[0]
    weights = [t for t in graph.tensors if t.constant and t.dtype == "INT8" and t.elements > 8]
    assert len(weights) == 3  # convolution, depthwise convolution, dense
    assert [tensor.quantisation.per_channel for tensor in weights] == [per_channel] * 3


@pytest.mark.usefixtures("in_this_process")
def test_a_transform_that_only_scales_is_quantised_where_bytes_come_in(
    imported, pictures, tmp_path
):
    done, edge = run(imported, tmp_path, pictures, quantisation="int8", io="int8")
    assert edge.signature.inputs[0].dtype == "int8"
    assert done.metadata["difference"]["prediction"]["max"] < 0.02
    done, edge = run(imported, tmp_path, pictures, quantisation="int8")
    table = artifacts.read(tmp_path / "edge", models.EDGE_SCHEMA).path / "operators.json"
    assert edge.signature.inputs[0].dtype == "float32"
    assert "FLOAT32" in table.read_text()  # outside, where numbers come in


@pytest.mark.parametrize(
    ("change", "parameters", "sentence"),
    [
        (None, {}, "rows lack 'image': the model takes image"),
        (lambda rows: rows[:, 0], {}, r"\[40, 12, 3\], but the model"),
        (lambda rows: rows.astype(np.float64), {}, "are float64 of shape"),
        (lambda rows: rows[:0], {}, "at least one: {'image': 0}"),
        (np.array, {"io": "int8"}, "io is 'int8', but a model of quantisation 'dynam"),
        (np.array, {"io": "bool"}, "io is 'bool', but must be one of float, int8, ui"),
        (np.array, {"quantisation": "auto"}, "which needs labelled examples"),
        (np.array, {"io": "uint8", "quantisation": "static_wi8_ai8"}, "ai-edge-quantizer lacks"),
        (np.array, {"per_channel": False, "quantisation": "fp16"}, "only dynamic, int8, int16x8"),
        (np.array, {"batch": -1}, "batch is -1, but must be 0"),
    ],
)
def test_rows_and_parameters_that_do_not_fit_are_named(
    network, pictures, tmp_path, change, parameters, sentence
):
    rows = {"image": change(pictures)} if change else {}
    with pytest.raises(EdgelineError, match=sentence):
        convert_arrays(
            str(network), rows, str(tmp_path / "edge"), str(tmp_path / "r.html"), **parameters
        )
