"""A new dataset needs a module and parameters, nothing else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command import Finished, edgeline
from sklearn.datasets import load_wine

from edgeline import bundle

MODULE = Path(__file__).with_name("wine_module.py")


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("wine")
    data = load_wine()
    with open(folder / "wine.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*data.feature_names, "colour", "kind"])
        for number, (row, kind) in enumerate(zip(data.data, data.target, strict=True)):
            intensity = row[data.feature_names.index("color_intensity")]
            colour = "" if number % 10 == 0 else ["pale", "ruby", "deep"][int(intensity // 5)]
            writer.writerow([*row, colour, data.target_names[kind]])
    return edgeline(
        folder,
        *("run", "tabular", "--module", str(MODULE)),
        *("--set", "data=wine.csv", "--set", "label=kind", "--set", "label_vocabulary=kind"),
        *("--set", "task=multiclass_classification", "--set", "model_name=wine"),
        *("--set", "destination=models", "--set", "steps=300", "--set", "batch_size=16"),
        *("--set", f"hyperparameters={json.dumps({'units': 24})}"),
    )


def test_it_runs_to_a_published_bundle(wine: Finished) -> None:
    assert wine.code == 0, wine.output
    published = bundle.read(wine.folder / "models" / "wine" / "1")
    assert published.task == "multiclass_classification"
    assert set(published.labels or ()) == {"class_0", "class_1", "class_2"}
    assert "colour" in {tensor.name for tensor in published.signature.inputs}
    assert published.takes == "raw"


def test_it_tells_the_kinds_apart(wine: Finished) -> None:
    metrics = wine.record["tasks"]["analyze"]["outputs"]["metrics"]["metadata"]
    assert metrics["sparse_categorical_accuracy"] > 0.85
    checked = wine.record["tasks"]["verify"]["outputs"]["verification"]["metadata"]
    assert checked["changed_decisions"] == 0
