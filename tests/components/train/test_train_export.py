"""Export: pictures, class names, and features that the network does not use."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples, models
from edgeline.artifacts.features import Feature
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.train import train
from edgeline.components.transform.transform import transform
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

MODULE = """
import time

import keras
import tensorflow as tf
import tensorflow_transform as tft

def preprocessing_fn(inputs):
    def decode(content):
        picture = tf.io.decode_png(content[0], channels=1)
        return tf.reshape(tf.cast(picture, tf.float32) / 255.0, [4])

    specification = tf.TensorSpec([4], tf.float32)
    return {
        "miles": tft.scale_to_0_1(inputs["miles"]),
        "picture": tf.map_fn(decode, inputs["image"], fn_output_signature=specification),
        "row": inputs["row"],
        "kind": tft.compute_and_apply_vocabulary(inputs["size"], vocab_filename="kinds"),
    }

GRADIENT = f"Halved{time.monotonic_ns()}"  # the module may be loaded again

@tf.RegisterGradient(GRADIENT)
def halved(operator, gradient):
    return gradient * operator.outputs[0] / 2  # there is no operator when it is saved

def bent(x):
    with tf.compat.v1.get_default_graph().gradient_override_map({"Tanh": GRADIENT}):
        return tf.tanh(x)

def build_model(features, hyperparameters):
    assert sorted(features) == ["miles", "picture", "row"]
    inputs = {n: keras.Input(features[n].shape[1:], name=n) for n in
              ("picture", "miles")}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    if hyperparameters.get("gradient"):
        joined = keras.layers.Lambda(bent)(joined)
    classes = keras.layers.Dense(3, activation="softmax")(joined)
    if hyperparameters.get("list"):
        model = keras.Model(inputs, [classes, joined])
        model.compile("adam", ["sparse_categorical_crossentropy", None])
    else:
        model = keras.Model(inputs, classes)
        model.compile("adam", "sparse_categorical_crossentropy")
    return model
"""
FEATURES = [
    Feature("miles", "float32"),
    Feature("image", "string"),
    Feature("row", "int64"),
    Feature("size", "string"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Thirty rows with a picture of 2 by 2 pixels in each, transformed."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("export")
    pictures = [
        tf.io.encode_png(np.full([2, 2, 1], 8 * row, np.uint8)).numpy() for row in range(30)
    ]
    table = pa.table(
        {
            "miles": np.arange(30.0),
            "image": pa.array(pictures, pa.binary()),
            "row": np.arange(30),
            "size": ["groß", "mittel", "klein"] * 10,
        }
    )
    with artifacts.writing(folder / "examples", examples.SCHEMA) as draft:
        for split in ("train", "eval"):
            (draft.path / split).mkdir()
            pq.write_table(table, draft.path / split / "part-00000.parquet")
        draft.metadata["splits"] = {split: {"rows": 30} for split in ("train", "eval")}
    with artifacts.writing(folder / "schema", "schema/v1") as draft:
        text = json.dumps([feature.to_json() for feature in FEATURES])
        (draft.path / "features.json").write_text(text)
    (folder / "module.py").write_text(MODULE)
    names = ("examples", "schema", "module.py", "graph", "transformed", "transform.html")
    transform(*(str(folder / name) for name in names))
    return folder


def train_in(folder, **hyperparameters):
    return train(
        str(folder / "transformed"),
        str(folder / "graph"),
        str(folder / "module.py"),
        "multiclass_classification",
        Fitting(label="kind", steps=2, batch_size=10),
        str(folder / "model"),
        str(folder / "train.html"),
        hyperparameters,
        label_vocabulary="kinds",
    )


def test_the_model_asks_for_what_its_network_takes(folder):
    logged = train_in(folder)
    assert logged["labels"] == ["mittel", "klein", "groß"]
    assert {feature["name"] for feature in logged["features"]} == {"miles", "image"}
    model = artifacts.read(folder / "model", models.SCHEMA)
    assert [feature.name for feature in models.raw_features(model)] == ["miles", "image"]

    table = pq.read_table(folder / "examples" / "eval" / "part-00000.parquet").slice(0, 7)
    raw = {name: np.array(table[name].to_pylist(), object)[:, None] for name in table.schema.names}
    raw["miles"] = raw["miles"].astype(np.float32)
    raw["size"] = np.array([[text.encode()] for [text] in raw["size"]], object)
    serve, _ = models.load_signature(model, models.SERVING)
    evaluate, takes = models.load_signature(model, models.EVALUATE)
    between, _ = models.load_signature(model, models.TRANSFORM)
    assert {feature.name for feature in takes} == {"miles", "image", "size"}
    predicted = serve(raw)["prediction"]
    assert predicted.shape == (7, 3)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-5)
    evaluated = evaluate(raw)
    np.testing.assert_allclose(evaluated["prediction"], predicted, rtol=1e-5)
    names = [logged["labels"][index] for [index] in evaluated["label"]]
    assert names == [text.decode() for [text] in raw["size"]]
    transformed = between(raw)
    assert transformed.keys() == {"picture", "miles"}
    np.testing.assert_allclose(transformed["picture"][3], [24 / 255] * 4, rtol=1e-6)


def test_a_gradient_that_cannot_be_saved_is_left_out(folder):
    train_in(folder, gradient=True)
    model = artifacts.read(folder / "model", models.SCHEMA)
    serve, _ = models.load_signature(model, models.PREDICT_TRANSFORMED)
    rows = {"miles": np.zeros([3, 1], np.float32), "picture": np.zeros([3, 4], np.float32)}
    assert serve(rows)["prediction"].shape == (3, 3)


def test_outputs_in_a_list_have_no_names(folder):
    before = artifacts.read(folder / "model", models.SCHEMA)
    with pytest.raises(EdgelineError, match="several outputs in a list: give them names"):
        train_in(folder, list=True)
    assert artifacts.read(folder / "model", models.SCHEMA) == before


@pytest.mark.parametrize("name", ["self", ""])
def test_a_name_that_no_call_can_have_is_refused_before_the_training(folder, tmp_path, name):
    with artifacts.writing(tmp_path / "graph", "transform_graph/v1") as draft:
        draft.metadata["dependencies"] = {"miles": [name]}
    arguments = str(folder / "transformed"), str(tmp_path / "graph"), str(folder / "module.py")
    outputs = str(tmp_path / "model"), str(tmp_path / "report.html")
    how = Fitting(label="kind", steps=10**9)
    with pytest.raises(EdgelineError, match=f"Feature '{name}' has a name by which neither"):
        train(*arguments, "regression", how, *outputs)
