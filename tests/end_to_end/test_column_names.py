"""Columns under the names that data comes with, from ingest to the served answer."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Finished, edgeline

from edgeline.artifacts import bundle

# tests of convert, compile and the server have such names, and test_hostile_names.py a whole run
pytestmark = pytest.mark.long

DATA = Path(__file__).parents[1] / "data" / "columns"
MODULE = """
from edgeline.preprocessing import fill_missing

def preprocessing_fn(inputs):
    import tensorflow_transform as tft

    return {
        name: values if name == "class" else tft.scale_to_z_score(fill_missing(values, 0.0))
        for name, values in inputs.items()
    }

def build_model(features, hyperparameters):
    import keras

    inputs = {name: keras.Input(each.shape[1:], name=name) for name, each in features.items()}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(joined))
    model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
    return model
"""
COLUMNS = ["petal length (cm)", "petal width (cm)", "sepal length (cm)"]  # without one
FLOWERS = {  # the first of each kind in the data
    "petal length (cm)": [1.4, 4.7, 6.0],
    "petal width (cm)": [0.2, 1.4, 2.5],
    "sepal length (cm)": [5.1, 7.0, 6.3],
}


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("iris")
    (folder / "module.py").write_text(MODULE)
    return edgeline(
        folder,
        *("run", "tabular", "--module", "module.py", "--set", f"data={DATA / 'iris.csv'}"),
        *("--set", 'rename={"target": "class"}', "--set", 'columns={"sepal width (cm)": false}'),
        *("--set", "label=class", "--set", "training.task=multiclass_classification"),
        *("--set", "steps=200", "--set", "batch_size=16", "--set", "model_name=iris"),
        *("--set", "destination=models"),
    )


@pytest.fixture
def ask(iris: Finished) -> Iterator[Callable[[str, object], Any]]:
    """What `edgeline serve` of the published model answers to a JSON document."""
    command = [
        sys.executable,
        "-m",
        "edgeline",
        "serve",
        str(iris.folder / "models"),
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ports = dict(part.split("=") for part in process.stdout.readline().split()[1:])

        def post(path: str, document: object) -> Any:
            connection = http.client.HTTPConnection("127.0.0.1", int(ports["http"]), timeout=60)
            connection.request("POST", path, json.dumps(document))
            answer = connection.getresponse()
            content = json.loads(answer.read())
            connection.close()
            assert answer.status == 200, content
            return content

        try:
            yield post
        finally:
            process.terminate()
            assert process.wait(60) == 0


def test_the_bundle_takes_the_columns_of_the_data(iris: Finished) -> None:
    assert iris.code == 0, iris.output
    published = bundle.read(iris.folder / "models" / "iris" / "1")
    assert [tensor.name for tensor in published.signature.inputs] == COLUMNS
    assert [feature.name for feature in published.features] == COLUMNS
    report = Path(iris.record["tasks"]["convert"]["outputs"]["conversion_report"]["uri"])
    assert "petal length (cm)" in report.read_text()
    assert "_x0020_" not in report.read_text()


def test_the_server_answers_to_them_by_each_protocol(ask: Callable[[str, object], Any]) -> None:
    rows = [{name: values[row] for name, values in FLOWERS.items()} for row in range(3)]
    predictions = ask("/v1/models/iris:predict", {"instances": rows})["predictions"]
    assert np.argmax(predictions, axis=1).tolist() == [0, 1, 2]
    inputs = [
        {"name": name, "datatype": "FP32", "shape": [3, 1], "data": values}
        for name, values in FLOWERS.items()
    ]
    [output] = ask("/v2/models/iris/infer", {"inputs": inputs})["outputs"]
    np.testing.assert_allclose(np.reshape(output["data"], [3, 3]), predictions, rtol=1e-5)


def test_the_recorded_rows_hold_on_a_device(iris: Finished) -> None:
    checked = edgeline(iris.folder, "verify", str(iris.folder / "models" / "iris" / "1"))
    assert checked.code == 0, checked.output
    recorded = json.loads((iris.folder / "models" / "iris" / "1" / "test_vectors.json").read_text())
    assert sorted(recorded["inputs"]) == COLUMNS
