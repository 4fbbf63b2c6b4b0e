"""Conversion of models that nobody trained here: a network alone, rows given as arrays."""

import numpy as np
import pytest

from edgeline import artifacts, interpreter, models
from edgeline.components.convert.convert import convert_arrays
from edgeline.errors import EdgelineError

tf = pytest.importorskip("tensorflow")

PICTURES = np.random.default_rng(5).uniform(-1, 1, [40, 12, 12, 3]).astype(np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A `model/v1` with `serving_default` alone, from pictures to four probabilities."""
    import keras

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


@pytest.fixture(scope="module")
def imported(network, tmp_path_factory):
    """The same with a transform, as pretrained models come: half of each value."""
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


def run(network, folder, rows=PICTURES, **parameters):
    done = convert_arrays(
        str(network), {"image": rows}, str(folder / "edge"), str(folder / "r.html"), **parameters
    )
    return done, interpreter.load(folder / "edge" / "model.tflite")


@pytest.mark.usefixtures("in_this_process")
def test_pictures_go_in_and_the_batch_is_free(network, tmp_path):
    done, edge = run(network, tmp_path, quantisation="float")
    assert done.metadata["task"] is None
    assert done.metadata["representative"] == {"split": None, "rows": 40}
    assert done.metadata["difference"]["prediction"]["max"] < 1e-6
    assert edge.signature.inputs[0].shape == (-1, 12, 12, 3)
    assert edge.invoke({"image": PICTURES[:3]})["prediction"].shape == (3, 4)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("io", ["float", "int8", "uint8"])
def test_inputs_and_outputs_have_the_dtype_asked_for(network, tmp_path, io):
    done, edge = run(network, tmp_path, quantisation="int8", io=io, batch=1)
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
def test_a_transform_that_only_scales_is_quantised_where_bytes_come_in(imported, tmp_path):
    done, edge = run(imported, tmp_path, quantisation="int8", io="int8")
    assert edge.signature.inputs[0].dtype == "int8"
    assert done.metadata["difference"]["prediction"]["max"] < 0.02
    done, edge = run(imported, tmp_path, quantisation="int8")
    table = artifacts.read(tmp_path / "edge", models.EDGE_SCHEMA).path / "operators.json"
    assert edge.signature.inputs[0].dtype == "float32"
    assert "FLOAT32" in table.read_text()  # outside, where numbers come in


@pytest.mark.parametrize(
    ("rows", "parameters", "sentence"),
    [
        ({}, {}, "rows lack 'image': the model takes image"),
        ({"image": PICTURES[:, 0]}, {}, r"\[40, 12, 3\], but the model"),
        ({"image": PICTURES.astype(np.float64)}, {}, "are float64 of shape"),
        ({"image": PICTURES[:0]}, {}, "at least one: {'image': 0}"),
        ({"image": PICTURES}, {"io": "int8"}, "io is 'int8', but a model of quantisation 'dynam"),
        ({"image": PICTURES}, {"io": "bool"}, "io is 'bool', but must be one of float, int8, ui"),
        ({"image": PICTURES}, {"batch": -1}, "batch is -1, but must be 0"),
    ],
)
def test_rows_and_parameters_that_do_not_fit_are_named(
    network, tmp_path, rows, parameters, sentence
):
    with pytest.raises(EdgelineError, match=sentence):
        convert_arrays(
            str(network), rows, str(tmp_path / "edge"), str(tmp_path / "r.html"), **parameters
        )
