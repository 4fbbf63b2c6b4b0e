"""Models of real tables with blanks and slashes in their headers: the edge model has them, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples, models
from edgeline.components.convert.convert import convert
from edgeline.components.ingest.ingest import ingest
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.train import train
from edgeline.components.transform.transform import transform
from edgeline.components.validate.validate import validate
from edgeline.runtimes import interpreter

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data" / "columns"
MODULE = """
def preprocessing_fn(inputs):
    import tensorflow as tf
    import tensorflow_transform as tft

    features = {
        name: tft.scale_to_z_score(tf.cast(values, tf.float32))
        for name, values in inputs.items()
        if name != "target"
    }
    return {**features, "class": inputs["target"]}

def build_model(features, hyperparameters):
    import keras

    inputs = {name: keras.Input(each.shape[1:]) for name, each in features.items()}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(joined))
    model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
    return model
"""


@pytest.mark.parametrize(
    ("table", "quantisation", "column"),
    [
        ("wine", "int8", "od280/od315_of_diluted_wines"),
        pytest.param("breast_cancer", "dynamic", "worst fractal dimension", marks=pytest.mark.long),
    ],
)
def test_the_edge_model_takes_the_columns_of_the_table(tmp_path, table, quantisation, column):
    source = DATA / f"{table}.csv"
    header = source.read_text().partition("\n")[0].split(",")
    (tmp_path / "module.py").write_text(MODULE)

    def at(*names):
        return [str(tmp_path / name) for name in names]

    ingest(str(source), tmp_path / "examples")
    validate(*at("examples", "statistics", "schema", "anomalies", "validate.html"))
    transform(*at("examples", "schema", "module.py", "graph", "transformed", "transform.html"))
    train(
        *at("transformed", "graph", "module.py"),
        "multiclass_classification",
        Fitting(label="class", steps=50, batch_size=16),
        *at("model", "train.html"),
        require_raw=True,
    )
    convert(*at("model", "examples", "edge", "convert.html"), quantisation=quantisation)

    edge = models.read_edge(tmp_path / "edge")
    takes = models.raw_features(edge)
    assert edge.metadata["takes"] == "raw"
    assert {feature.name for feature in takes} == set(header) - {"target"}
    assert column in (tmp_path / "convert.html").read_text()

    rows = examples.read_spread(
        artifacts.read(tmp_path / "examples", examples.SCHEMA), "eval", takes, 40
    )
    cloud, needed = models.load_signature(
        artifacts.read(tmp_path / "model", models.SCHEMA), models.SERVING
    )
    assert {feature.name for feature in needed} == set(rows)
    answer = interpreter.load(models.edge_model_path(edge))(rows)["prediction"]
    np.testing.assert_allclose(answer, cloud(rows)["prediction"], atol=0.05)
    changed = {**rows, column: rows[column] * 2}  # the name leads to its own tensor
    assert not np.allclose(cloud(changed)["prediction"], cloud(rows)["prediction"])
    moved = interpreter.load(models.edge_model_path(edge))(changed)["prediction"]
    np.testing.assert_allclose(moved, cloud(changed)["prediction"], atol=0.05)
