"""Real trials on real taxi trips: what is measured, what fails, and that train gives the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeline import artifacts
from edgeline.components.tune.outcome import COMPLETE, FAILED, INFEASIBLE

pytestmark = pytest.mark.long  # a minute: taxi's features, four trials, a training
MODULE = '''
"""Tips by two numbers that microcontrollers take: small, so that a trial takes seconds."""

from edgeline.pipelines.taxi.module import preprocessing_fn  # noqa: F401

DENSE = ("trip_miles", "fare")
TRIALS = iter(["small", "broken", "diverging", "large"])


def search_space(trial):
    kind = next(TRIALS)
    units = {"small": [4], "large": [3000]}.get(kind, [2])
    rate = 1e30 if kind == "diverging" else trial.suggest_float("rate", 0.001, 0.02, log=True)
    return {"units": units, "rate": rate, "broken": kind == "broken"}


def build_model(features, hyperparameters):
    import keras

    if hyperparameters["broken"]:
        raise ValueError("there is no such layer")
    inputs = {name: keras.Input(features[name].shape[1:], name=name) for name in DENSE}
    hidden = keras.layers.Concatenate()(list(inputs.values()))
    for units in hyperparameters["units"]:
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    optimizer = keras.optimizers.SGD(hyperparameters["rate"])
    model.compile(optimizer, hyperparameters["loss"], metrics=["accuracy"])
    return model
'''
GIVEN = {
    "label": "big_tip",
    "steps": 60,
    "steps_per_epoch": 30,
    "hyperparameters": {"loss": "binary_crossentropy"},
    "quantisation": "float",
}


@dataclass(frozen=True)
class Tuned:
    """What the face of tune gave, with its outputs and the trials by their hyperparameters."""

    folder: Path
    module: Path
    chosen: Mapping[str, Any]
    metrics: Mapping[str, float]
    trials: list[dict[str, Any]]
    metadata: Mapping[str, Any]
    page: str


@pytest.fixture(scope="module")
def tuned(transformed_taxi, tmp_path_factory) -> Tuned:
    from kfp import dsl

    from edgeline.components.tune.component import tune

    folder = tmp_path_factory.mktemp("tuned")
    module = folder / "module.py"
    module.write_text(MODULE)
    run = transformed_taxi.folder
    metrics = dsl.Metrics()
    given = tune.python_func(
        examples=dsl.Dataset(uri=str(run / "examples")),
        transform_graph=dsl.Artifact(uri=str(run / "graph")),
        transformed_examples=dsl.Dataset(uri=str(run / "transformed")),
        module=str(module),
        objectives=["auc", "size_bytes", "tflite-micro.arena_bytes"],
        trials=4,
        study=dsl.Artifact(uri=str(folder / "study")),
        tuning_report=dsl.HTML(uri=str(folder / "tuning.html")),
        tuning_metrics=metrics,
        requirements={"devices": {"mcu": {"target": "tflite-micro", "size_kb": 50}}},
        **GIVEN,
    )
    study = artifacts.read(folder / "study", "study/v1")
    trials = json.loads((study.path / "trials.json").read_text())
    page = (folder / "tuning.html").read_text()
    return Tuned(folder, module, given[0], metrics.metadata, trials, study.metadata, page)


def test_each_trial_is_kept_with_what_came_of_it(tuned: Tuned) -> None:
    states = [each["state"] for each in tuned.trials]
    assert states == [COMPLETE, FAILED, FAILED, INFEASIBLE]
    assert "ValueError: there is no such layer" in tuned.trials[1]["reason"]
    assert "The loss of epoch 1 is not finite" in tuned.trials[2]["reason"]
    assert tuned.trials[3]["reason"].startswith("mcu: size of the model is ")
    assert all(len(each["curve"]["val_loss"]) == 2 for each in tuned.trials if each["values"])
    assert not list(tuned.folder.glob("search-*"))  # the journal is in the artifact


def test_the_numbers_are_those_of_the_edge_model_and_its_compiler(tuned: Tuned) -> None:
    small, large = (tuned.trials[number]["measured"] for number in (0, 3))
    assert small["parameters"] == (2 + 1) * 4 + (4 + 1)
    assert large["size_bytes"] > small["size_bytes"] + 4 * (large["parameters"] - 100)
    assert small["tflite-micro.arena_bytes"] < large["tflite-micro.arena_bytes"]
    for each in (small, large):
        assert 0.4 < each["auc"] < 1 and each["auc"] == pytest.approx(each["cloud_auc"], abs=1e-4)
        assert each["latency_p99_ms"] > 0
        assert each["tflite-micro.flash_bytes"] == each["tflite-micro.size_bytes"]


def test_train_gives_the_chosen_trials_numbers_again(tuned: Tuned, transformed_taxi) -> None:
    from edgeline.components.convert.convert import convert
    from edgeline.components.train.fitting import Fitting
    from edgeline.components.train.train import train

    chosen = tuned.trials[tuned.metadata["chosen"]]
    assert tuned.chosen == {**GIVEN["hyperparameters"], **chosen["hyperparameters"]}
    run, folder = transformed_taxi.folder, tuned.folder
    how = {name: GIVEN[name] for name in ("label", "steps", "steps_per_epoch")}
    facts = train(
        str(run / "transformed"),
        str(run / "graph"),
        str(tuned.module),
        "binary_classification",
        Fitting(**how),
        str(folder / "model"),
        str(folder / "train.html"),
        tuned.chosen,
    )
    assert json.loads((folder / "model" / "history.json").read_text()) == chosen["curve"]
    assert facts["metrics"]["val_auc"] == chosen["measured"]["cloud_auc"]
    places = (folder / "model", run / "examples", folder / "edge", folder / "convert.html")
    converted = convert(*map(str, places), quantisation="float")
    assert converted.metadata["size"] == chosen["measured"]["size_bytes"]


def test_the_page_shows_the_front_the_curves_and_every_trial(tuned: Tuned) -> None:
    assert tuned.metadata["rule"].startswith("The highest auc goes on")
    assert tuned.page.count("<svg") >= 4 and "<script" not in tuned.page
    assert "there is no such layer" in tuned.page
    best = tuned.metadata["chosen"]
    assert f"<title>trial {best}, complete\nauc " in tuned.page
    assert {best, *tuned.metadata["front"]} == {0}
    assert tuned.metrics["auc"] == tuned.trials[best]["values"]["auc"]
