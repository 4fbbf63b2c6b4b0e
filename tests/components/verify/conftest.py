"""A small model on real taxi rows, and edge models made from it."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from taxi_rows import save_rows

from edgeline import artifacts
from edgeline.artifacts import features
from edgeline.runtimes.interpreter import load

sys.path.append(str(Path(__file__).parents[2] / "data"))  # make_onnx.py


@dataclass(frozen=True)
class Workplace:
    """Folders of a cloud model, its examples, and a maker of edge models."""

    folder: Path
    model: Path
    examples: Path
    module: object

    def edge(self, name, content, quantisation="float", takes="raw", **facts):
        """An `edge_model/v1` folder around a flatbuffer."""
        path = self.folder / name
        model = artifacts.read(self.model, "model/v1")
        with artifacts.writing(path, "edge_model/v1") as draft:
            (draft.path / "model.tflite").write_bytes(content)
            draft.metadata.update(
                features=model.metadata["features"],
                task=model.metadata["task"],
                quantisation=quantisation,
                takes=takes,
                **facts,
            )
        return path

    def convert(self, signature="serving_default", dynamic=False):
        """The cloud model's signature as a flatbuffer."""
        import tensorflow as tf

        source = self.folder / f"export-{signature}"
        function = {
            "serving_default": self.module.serving,
            "predict_transformed": self.module.predict_transformed,
        }[signature]
        tf.saved_model.save(self.module, str(source), signatures={"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(source), signature_keys=["serving_default"]
        )
        if dynamic:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    module = taxi_module()
    return Workplace(folder, save_model(folder / "model", module), save_rows(folder), module)


@pytest.fixture(scope="session")
def flatbuffer(workplace):
    return workplace.convert()


@pytest.fixture(scope="session")
def edge_model(workplace, flatbuffer):
    return workplace.edge("edge", flatbuffer)


@pytest.fixture(scope="session")
def nan_hour(workplace):
    """Folders of a cloud and an edge model that differ where the hour is missing, as in no row."""
    folder = workplace.folder / "nan-hour"
    module = taxi_module(fills_hour=False)
    own = replace(workplace, folder=folder, module=module)
    return save_model(folder / "model", module), own.edge("edge", own.convert())


@pytest.fixture(scope="session")
def signature(edge_model):
    return load(edge_model / "model.tflite").signature


def save_model(path, module, task="binary_classification"):
    import tensorflow as tf

    raw = [
        features.Feature("fare", "float32"),
        features.Feature("payment_type", "string"),
        features.Feature("trip_miles", "float32"),
        features.Feature("trip_start_hour", "int64"),
    ]
    with artifacts.writing(path, "model/v1") as draft:
        tf.saved_model.save(
            module,
            str(draft.path / "saved_model"),
            signatures={
                "serving_default": module.serving,
                "evaluate": module.evaluate,
                "transform": module.transform,
                "predict_transformed": module.predict_transformed,
            },
        )
        draft.metadata.update(
            features=[feature.to_json() for feature in raw], task=task, label="big_tipper"
        )
    return path


def taxi_module(fills_hour=True):
    """Big tipper or not, with fixed weights: vocabulary, missing values, two dense layers.

    A missing hour is a number, or else NaN that is cast to one.
    """
    import tensorflow as tf

    from edgeline.preprocessing import fill_missing

    def spec(name, dtype):
        return tf.TensorSpec([None, 1], dtype, name=name)

    raw = [
        spec("fare", tf.float32),
        spec("payment_type", tf.string),
        spec("trip_miles", tf.float32),
        spec("trip_start_hour", tf.int64),
    ]

    class Taxi(tf.Module):
        def __init__(self):
            super().__init__()
            words = tf.constant(["Cash", "Credit Card", "Unknown", "No Charge"])
            places = tf.range(4, dtype=tf.int64)
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(words, places), 4
            )
            self.hidden = tf.Variable(tf.random.stateless_normal([8, 64], [1, 2]) / 3)
            self.output = tf.Variable(tf.random.stateless_normal([64, 1], [3, 4]) / -6)

        def bounded(self, number):
            """Infinity is NaN behind the first layer, and LiteRT's ReLU makes a number of that."""
            return tf.clip_by_value(fill_missing(number, 0.0), 0.0, 1e6)

        def hour(self, hour):
            if not fills_hour:  # NaN is the smallest int32 here, and the largest in LiteRT
                number = tf.cast(tf.clip_by_value(hour, 0, 23), tf.float32)
                place = tf.cast(tf.where(hour < -(2**62), np.nan, number), tf.int32)
                hour = tf.clip_by_value(place, 0, 23)
            return tf.cast(hour, tf.float32) / 24.0

        def features(self, fare, payment_type, trip_miles, trip_start_hour):
            word = self.table.lookup(payment_type)
            return {
                "word": tf.one_hot(tf.squeeze(word, 1), 5),
                "numbers": tf.concat(
                    [
                        tf.math.log1p(self.bounded(fare)),
                        tf.math.log1p(self.bounded(trip_miles)),
                        self.hour(trip_start_hour),
                    ],
                    1,
                ),
            }

        def predict(self, word, numbers):
            hidden = tf.nn.relu(tf.concat([word, numbers], 1) @ self.hidden)
            return {"prediction": tf.sigmoid(hidden @ self.output)}

        @tf.function(input_signature=raw)
        def serving(self, fare, payment_type, trip_miles, trip_start_hour):
            return self.predict(**self.features(fare, payment_type, trip_miles, trip_start_hour))

        @tf.function(input_signature=raw)
        def transform(self, fare, payment_type, trip_miles, trip_start_hour):
            return self.features(fare, payment_type, trip_miles, trip_start_hour)

        @tf.function(input_signature=[*raw, spec("tips", tf.float32)])
        def evaluate(self, fare, payment_type, trip_miles, trip_start_hour, tips):
            answer = self.serving(fare, payment_type, trip_miles, trip_start_hour)
            label = tf.cast(tips > 0.2 * fill_missing(fare, 0.0), tf.int64)
            return {**answer, "label": label}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 5], tf.float32, name="word"),
                tf.TensorSpec([None, 3], tf.float32, name="numbers"),
            ]
        )
        def predict_transformed(self, word, numbers):
            return self.predict(word, numbers)

    return Taxi()


@pytest.fixture(scope="session")
def bundle_maker(edge_model, tmp_path_factory):
    """Makes a bundle folder around the edge model, with test vectors where given."""
    import shutil

    from edgeline.artifacts import bundle

    def make(signature, vectors=None):
        folder = tmp_path_factory.mktemp("bundle")
        shutil.copy(edge_model / "model.tflite", folder)
        if vectors is not None:
            (folder / "test_vectors.json").write_text(json.dumps(vectors))
        raw = artifacts.read(edge_model, "edge_model/v1").metadata["features"]
        bundle.write_manifest(
            folder,
            bundle.Bundle(
                name="taxi",
                version=1,
                target="litert",
                model="model.tflite",
                task="binary_classification",
                quantisation="float",
                takes="raw",
                signature=signature,
                features=tuple(map(features.Feature.from_json, raw)),
                files=artifacts.list_files(folder),
            ),
        )
        return folder

    return make
