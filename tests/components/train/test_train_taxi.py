"""train on real taxi trips: the exported signatures, seeds, and what is left behind."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from edgeline.artifacts import Artifact, examples, features, models
from edgeline.artifacts.features import Feature
from edgeline.components.train.fitting import Fitting, fit
from edgeline.runtimes.metrics import metric

pytestmark = pytest.mark.slow

MODULE = "edgeline.pipelines.taxi.module"


@pytest.fixture(scope="module")
def rows(trained_taxi):
    """Raw and transformed arrays of the split eval."""

    def read(artifact: Artifact, given: list):
        batch = next(examples.read_batches(artifact, "eval"))
        return features.to_numpy(batch, map(Feature.from_json, given))

    graph = trained_taxi.graph.metadata
    return (
        read(trained_taxi.examples, graph["features"]),
        read(trained_taxi.transformed, graph["transformed"]),
    )


@pytest.fixture(scope="module")
def signature(trained_taxi):
    return lambda name: models.load_signature(trained_taxi.model, name)


def retrain(run, checkpoints, seed):
    # the parameters of the session's training, in tests/components/conftest.py
    how = Fitting(label="big_tip", steps=70, steps_per_epoch=50, seed=seed)
    return fit(MODULE, run.transformed, {}, how, checkpoints)


@pytest.fixture(scope="module")
def again(trained_taxi, tmp_path_factory):
    return retrain(trained_taxi, tmp_path_factory.mktemp("again"), seed=3)


def test_serving_default_does_not_ask_for_what_only_the_label_needs(signature, trained_taxi):
    names = {feature.name for feature in signature(models.SERVING)[1]}
    assert names == {feature.name for feature in models.raw_features(trained_taxi.model)}
    assert "tips" not in names
    assert {feature.name for feature in signature(models.EVALUATE)[1]} == names | {"tips"}


def test_evaluate_is_the_network_on_transformed_rows(signature, rows, again):
    raw, transformed = rows
    network, _ = again
    label = transformed["big_tip"]
    given = {name: values for name, values in transformed.items() if name != "big_tip"}
    found = signature(models.EVALUATE)[0](raw)
    assert found.keys() == {"prediction", "label"}
    np.testing.assert_array_equal(found["label"], label)
    expected = network.predict(given, batch_size=len(label), verbose=0)
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-5, atol=1e-6)
    assert found["prediction"].std() > 0.01


def test_serving_default_is_predict_transformed_of_transform(signature, rows):
    raw, transformed = rows
    served = signature(models.SERVING)[0](raw)["prediction"]
    between = signature(models.TRANSFORM)[0](raw)
    for name, values in between.items():
        np.testing.assert_array_equal(values, transformed[name], err_msg=name)
    composed = signature(models.PREDICT_TRANSFORMED)[0](between)["prediction"]
    np.testing.assert_array_equal(served, composed)
    alone = signature(models.SERVING)[0]({k: v[:1] for k, v in raw.items()})["prediction"]
    np.testing.assert_allclose(alone, served[:1], rtol=1e-5, atol=1e-6)


def test_exactly_the_steps_asked_for_are_trained(again):
    network, state = again
    assert int(network.optimizer.iterations) == 70
    assert state.epoch == 2
    assert all(len(values) == 2 for values in state.history.values())


def test_the_same_seed_gives_the_same_training(trained_taxi, again):
    history = json.loads((trained_taxi.model.path / "history.json").read_text())
    assert history == again[1].history
    losses = {name: history[name][-1] for name in ("loss", "val_loss")}
    assert trained_taxi.logged["training_metrics"].items() >= losses.items()


@pytest.mark.long
def test_another_seed_gives_another_training(trained_taxi, again, tmp_path):
    _, state = retrain(trained_taxi, tmp_path, seed=4)
    assert state.history["loss"] != again[1].history["loss"]


def test_what_the_model_carries(trained_taxi):
    metadata = trained_taxi.model.metadata
    assert trained_taxi.logged["model"] == {
        "edgeline_schema": "model/v1",
        "digest": trained_taxi.model.digest[:16],
        "parameters": metadata["parameters"],
        "epochs": metadata["epochs"],
    }
    assert metadata["task"] == "binary_classification"
    assert metadata["label"] == "big_tip"
    assert metadata["labels"] is None
    assert metadata["transform_digest"] == trained_taxi.graph.digest
    assert metadata["metrics"].keys() == {"loss", "val_loss", "val_auc", "val_accuracy"}


def test_the_metrics_are_those_of_the_exported_model_on_every_row(trained_taxi, signature):
    """Keras' AUC of 200 thresholds is a curve; the number is what analyze and verify find."""
    evaluate, takes = signature(models.EVALUATE)
    counted = metric("binary_classification", 0.5)
    for batch in examples.read_batches(trained_taxi.examples, "eval"):
        answer = evaluate(features.to_numpy(batch, takes))
        counted.add(answer["prediction"], answer["label"].reshape(-1))
    found, wanted = trained_taxi.model.metadata["metrics"], counted.result()
    assert found["val_accuracy"] == wanted["accuracy"]
    assert found["val_auc"] == pytest.approx(wanted["auc"], abs=1e-6)
    history = json.loads((trained_taxi.model.path / "history.json").read_text())
    assert len(history["val_auc"]) == 2 and len(history["auc"]) == 2


def test_no_checkpoint_is_left(trained_taxi):
    assert list((trained_taxi.folder / "checkpoints").iterdir()) == []


def test_the_report_shows_curves_and_loads_nothing(trained_taxi):
    page = (trained_taxi.folder / "train.html").read_text()
    svg = page[page.index("<svg") :]
    for word in ("loss", "auc", "accuracy", "epoch", "train", "eval"):
        assert word in svg
    assert "connected to" in page.lower()  # the network's table is not cut
    assert "learning_rate" not in page
    assert "embed_company" in page
    outside = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"'#][^\"']*)|url\(([^#)][^)]*)", page)
    assert outside == []
