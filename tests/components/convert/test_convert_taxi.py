"""Conversion of a real taxi model, the transform inside."""

import json

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples, features, models
from edgeline.components.convert.convert import convert
from edgeline.runtimes import interpreter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def rows(trained_taxi):
    """Raw features of all rows, and after them rows of missing, unknown and extreme values."""
    takes = models.raw_features(trained_taxi.model)
    raw = trained_taxi.examples
    found = [
        features.to_numpy(batch, takes)
        for split in examples.splits(raw)
        for batch in examples.read_batches(raw, split)
    ]
    strange = {
        "float32": [np.nan, -0.0, 1e4, -1e4, 1e-30],
        "int64": [-(2**63), 2**63 - 1, -1, 0, 10**6],
        "string": [b"", b"no such company", "Ünïcode 🚕".encode(), b"\xff\xfe", b"a" * 5000],
    }
    for feature in takes:
        values = np.array(strange[feature.dtype], features.NUMPY_DTYPES[feature.dtype])
        found.append(
            {name: column[: len(values)] for name, column in found[0].items()}
            | {feature.name: values.reshape(-1, 1)}
        )
    return {f.name: np.concatenate([part[f.name] for part in found]) for f in takes}


@pytest.fixture(scope="session")
def cloud(trained_taxi, rows):
    call, _ = models.load_signature(trained_taxi.model, "serving_default")
    return call(rows)["prediction"]


def _convert(run, name, **parameters):
    return convert(
        str(run.folder / "model"),
        str(run.folder / "examples"),
        str(run.folder / name),
        str(run.folder / f"{name}.html"),
        **parameters,
    )


@pytest.mark.parametrize(
    "quantisation",
    [
        "float",
        pytest.param("fp16", marks=pytest.mark.long),
        "dynamic",
        "int8",
        pytest.param("int16x8", marks=pytest.mark.long),
    ],
)
@pytest.mark.usefixtures("in_this_process")
def test_takes_raw_features_and_answers_as_the_cloud(trained_taxi, rows, cloud, quantisation):
    done = _convert(trained_taxi, quantisation, quantisation=quantisation)
    edge_model = artifacts.read(trained_taxi.folder / quantisation, models.EDGE_SCHEMA)
    assert edge_model.metadata == done.metadata
    assert done.metadata["takes"] == "raw" and done.metadata["because"] is None
    model = interpreter.load(models.edge_model_path(edge_model))
    for count in (1, 7, 1000):
        batch = {name: values[:count] for name, values in rows.items()}
        assert model.invoke(batch)["prediction"].shape == (count, 1)
    edge = model(rows)["prediction"]
    if quantisation == "float":
        np.testing.assert_allclose(edge, cloud, rtol=0, atol=1e-6)
        assert np.array_equal(edge > 0.5, cloud > 0.5)
    elif quantisation == "fp16":  # a moved bucket would make 0.02 of difference
        np.testing.assert_allclose(edge, cloud, rtol=0, atol=1e-3)
    else:
        ordinary = slice(0, 3000)
        assert np.isfinite(edge).all()
        assert np.mean((edge > 0.5)[ordinary] != (cloud > 0.5)[ordinary]) < 0.02
    written = json.loads((edge_model.path / "signature.json").read_text())
    assert [entry["name"] for entry in written["inputs"]] == sorted(rows)
    assert [entry["name"] for entry in written["outputs"]] == ["prediction"]
    table = json.loads((edge_model.path / "operators.json").read_text())
    kinds = {row["name"]: row for row in table}
    assert kinds["HASHTABLE_FIND"]["gives"] == ["INT64"]
    share = sum(row["quantised_constants"] for row in table) / sum(r["constants"] for r in table)
    assert share == 0 if quantisation == "float" else share > 0.5
    compute = {"int8": ["INT8"], "int16x8": ["INT16"]}.get(quantisation, ["FLOAT32"])
    assert kinds["FULLY_CONNECTED"]["gives"] == compute


def test_another_process_writes_the_same_bytes(trained_taxi, converted_taxi):
    here, there = trained_taxi.folder, converted_taxi.folder  # here: by the test above
    assert artifacts.list_files(there / "int8") == artifacts.list_files(here / "int8")
    assert (there / "int8.html").read_bytes() == (here / "int8.html").read_bytes()
