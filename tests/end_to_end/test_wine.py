"""A new dataset needs a module and parameters, nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command import Finished, edgeline

from edgeline.artifacts import bundle
from edgeline.artifacts.folder import facts_of

EXAMPLE = Path(__file__).parents[2] / "edgeline" / "starter" / "wine"
pytestmark = pytest.mark.long  # test_readme.py runs the example as README prints it

MODULE, DATA = EXAMPLE / "wine.py", EXAMPLE / "wine.csv"


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("wine")
    shutil.copy(DATA, folder / "wine.csv")
    return edgeline(
        folder,
        *("run", "tabular", "--module", str(MODULE)),
        *("--set", "data=wine.csv", "--set", "label=kind", "--set", "label_vocabulary=kind"),
        *("--set", "task=multiclass_classification", "--set", "model_name=wine"),
        *("--set", "destination=models", "--set", "steps=300", "--set", "batch_size=16"),
        *("--set", f"hyperparameters={json.dumps({'units': 24})}"),
        *("--set", "explained_rows=40", "--set", f"explained_slices={json.dumps(['colour'])}"),
    )


def test_it_runs_to_a_published_bundle(wine: Finished) -> None:
    assert wine.code == 0, wine.output
    published = bundle.read(wine.folder / "models" / "wine" / "1")
    assert published.task == "multiclass_classification"
    assert set(published.labels or ()) == {"class_0", "class_1", "class_2"}
    assert "colour" in {tensor.name for tensor in published.signature.inputs}
    assert published.takes == "raw"


def test_it_tells_the_kinds_apart(wine: Finished) -> None:
    metrics = wine.record["tasks"]["analyze"]["outputs"]["evaluation_metrics"]["metadata"]
    assert metrics["accuracy"] > 0.85
    checked = facts_of(wine.record["tasks"]["verify"]["outputs"]["verification"]["uri"])
    assert checked["changed_decisions"] == 0


def test_cloud_and_edge_are_explained_alike(wine: Finished) -> None:
    task = wine.record["tasks"]["explain"]
    assert task["state"] == "succeeded" and task["outputs"]["agrees"] is True
    metrics = task["outputs"]["explanation_metrics"]["metadata"]
    assert metrics["explained_rows"] == 40 and metrics["agreement_median"] > 0.99
    assert metrics["completeness_error"] <= 1e-3
    page = Path(task["outputs"]["explanation_report"]["uri"].removeprefix("file://")).read_text()
    assert "What the predictions rest on" in page and "colour = " in page
