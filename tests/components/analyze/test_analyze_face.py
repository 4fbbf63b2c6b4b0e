"""The face: its signature compiles, and it logs what the worker returns."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from kfp import dsl

from edgeline.components.analyze.component import analyze

pytestmark = pytest.mark.slow


def test_the_face_logs_metrics_curve_and_matrix(tmp_path, taxi, tips):
    artifacts = {
        "evaluation": dsl.Artifact(uri=str(tmp_path / "evaluation")),
        "evaluation_metrics": dsl.Metrics(),
        "classification": dsl.ClassificationMetrics(),
        "evaluation_report": dsl.HTML(uri=str(tmp_path / "report.html")),
    }
    inputs = {"examples": SimpleNamespace(path=taxi), "model": SimpleNamespace(path=tips)}
    outputs = analyze.python_func(**inputs, **artifacts, confidence_intervals=False)
    assert outputs == (True, 0.5)
    assert artifacts["evaluation"].metadata["edgeline_schema"] == "evaluation/v1"
    assert artifacts["evaluation_metrics"].metadata["auc"] == pytest.approx(0.92, abs=0.05)
    logged = artifacts["classification"].metadata
    assert len(logged["confidenceMetrics"]) == 51
    assert [row["displayName"] for row in logged["confusionMatrix"]["annotationSpecs"]] == [
        "0",
        "1",
    ]
    json.dumps(logged, allow_nan=False)
    assert (tmp_path / "report.html").is_file()


def test_parameters_and_outputs_are_described():
    spec = analyze.component_spec
    assert spec.inputs["eval_config"].default == {}
    reports = {"evaluation_metrics", "classification", "evaluation_report"}
    assert spec.outputs.keys() >= {"evaluation", "blessed", *reports}


def test_the_worker_does_not_know_kfp():
    folder = Path(__file__).parents[3] / "components" / "analyze"
    for file in folder.glob("*.py"):
        assert file.name == "component.py" or "import kfp" not in file.read_text()
