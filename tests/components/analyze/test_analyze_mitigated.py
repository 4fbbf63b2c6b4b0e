"""From raw rows to an evaluation: a group that is not a feature, three classes, both trainings."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.fairness import WITHOUT, training
from edgeline.artifacts.features import Feature
from edgeline.components.analyze.analyze import analyze
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.train import train
from edgeline.components.transform.transform import transform
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

ASKED = {"group": "town", "mitigation": "reweighing", "min_rows": 20}
MODULE = """
import keras
import tensorflow as tf

def preprocessing_fn(inputs):
    return {"x": inputs["x"], "kind": inputs["kind"]}

def build_model(features, hyperparameters):
    x = keras.Input((1,), name="x")
    out = keras.layers.Dense(3, activation="softmax", name="prediction")(x)
    model = keras.Model({"x": x}, out)
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    return model
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows of three kinds in two towns and a hamlet, transformed with the town beside."""
    folder = tmp_path_factory.mktemp("towns")
    random = np.random.default_rng(0)
    with artifacts.writing(folder / "examples", examples.SCHEMA) as draft:
        draft.metadata["splits"] = {}
        for split, count in (("train", 600), ("eval", 300)):
            town = random.choice(["Ulm", "Bern", "Au"], count, p=[0.5, 0.48, 0.02])
            kind = np.where(
                town == "Ulm", random.integers(0, 2, count), random.integers(0, 3, count)
            )
            x = (kind + random.normal(0, 0.5, count)).astype(np.float32)
            (draft.path / split).mkdir()
            table = pa.table({"x": x, "kind": kind, "town": town})
            pq.write_table(table, draft.path / split / "part-00000.parquet")
            draft.metadata["splits"][split] = {"rows": count}
    with artifacts.writing(folder / "schema", "schema/v1") as draft:
        features = [Feature("x", "float32"), Feature("kind", "int64")]  # and no town
        (draft.path / "features.json").write_text(json.dumps([each.to_json() for each in features]))
    (folder / "module.py").write_text(MODULE)
    names = ("examples", "schema", "module.py", "graph", "transformed", "transform.html")
    transform(*(str(folder / name) for name in names), fairness=ASKED)
    return folder


def trained(folder, name: str, **fairness):
    how = Fitting("kind", 60, 50, steps_per_epoch=30)
    train(
        *(str(folder / "transformed"), str(folder / "graph"), str(folder / "module.py")),
        *("multiclass_classification", replace(how, fairness=training({**ASKED, **fairness}))),
        *(str(folder / name), str(folder / f"{name}.html")),
    )
    return folder / name


def analyzed(folder, model, asked):
    place = folder / f"{model.name}-evaluation"
    analyze(
        *(str(folder / "examples"), str(model), str(place), str(folder / "page.html")),
        fairness=asked,
    )
    return json.loads((place / "fairness.json").read_text())


def test_the_same_rows_are_decided_with_and_without(folder) -> None:
    model = trained(folder, "both")
    both = artifacts.read(model, "model/v1")
    without = artifacts.read(model / WITHOUT, "model/v1")
    assert both.metadata["fairness"]["group"] == "town"
    assert {each["name"] for each in both.metadata["features"]} == {"x"}
    assert without.metadata["task"] == "multiclass_classification"
    told = analyzed(folder, model, ASKED)
    assert [each["name"] for each in told["sides"]] == ["without reweighing", "with reweighing"]
    for side in told["sides"]:
        assert set(side["classes"]) == {"0", "1", "2"}
        for found in side["classes"].values():
            assert {each["name"] for each in found["groups"]} == {"Ulm", "Bern"}
            assert set(found["left_out"]) == {"Au"}
    # the worst class counts, and of class 2 there is nobody in Ulm
    served = told["sides"][1]["classes"]
    values = [
        each["differences"]["demographic_parity_difference"]["value"] for each in served.values()
    ]
    assert told["fairness"]["differences"]["demographic_parity_difference"] == max(values)
    assert any("2: there is no positive row in Ulm" in each for each in told["notes"])
    page = (folder / "page.html").read_text()
    assert "without reweighing" in page and "Each class is looked at against the rest" in page


def test_a_training_that_is_not_compared_says_so(folder) -> None:
    model = trained(folder, "alone", compare=False)
    assert not (model / WITHOUT).exists()
    told = analyzed(folder, model, {**ASKED, "compare": False})
    assert len(told["sides"]) == 1
    assert any("not compared with a training without reweighing" in each for each in told["notes"])


@pytest.mark.parametrize("mitigation", ["penalty", "thresholds"])
def test_what_is_for_two_classes_is_refused_early(folder, mitigation) -> None:
    asked = {**ASKED, "mitigation": mitigation}
    with pytest.raises(EdgelineError, match="which is for two classes: give reweighing, or none"):
        analyzed(folder, folder / "both", asked)
