"""How large workflows become: of the pipelines that a real Kubeflow ran, and of those of today."""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from edgeline.client.compiling import compile_definition, compile_pipeline
from edgeline.environments import NAMES
from edgeline.environments.environment import load as load_environment
from edgeline.lint.lint import lint
from edgeline.lint.workflow import WorkflowSize, estimate
from edgeline.pipelines.catalogue import load

RECORDED = Path(__file__).parents[1] / "kubeflow" / "recorded"
BUCKET = "destination=s3://models/edge"
NO_TARGETS = {"with_edge": {"targets": []}}
LIMITS = {
    "taxi": 730_000,
    "tabular": 710_000,
    "pretrained": 700_000,
    "vision": 1_040_000,
    "digits": 1_060_000,
}


@cache
def _uploads() -> dict[str, Any]:
    with lzma.open(RECORDED / "uploads.json.xz") as stream:
        found: dict[str, Any] = json.load(stream)
    return found


@cache
def _handed(run: str) -> Mapping[tuple[str, str], list[Mapping[str, Any]]]:
    """What a real launcher handed a run's tasks, by component and input."""
    found = {}
    for file in (RECORDED / "executor").glob(f"{run}--*.json"):
        component = file.stem.partition("--")[2].rstrip("-0123456789").replace("_", "-")
        inputs = json.loads(file.read_text())["executor_input"]["inputs"].get("artifacts", {})
        for name, made in inputs.items():
            found[component, name] = [each["metadata"] for each in made["artifacts"]]
    return found


def _recorded(version: str, run: str) -> WorkflowSize:
    """Of a pipeline as it was uploaded, with what a real launcher handed its tasks in a run."""
    known = _handed(run)

    def handed(task: str, name: str) -> Sequence[Mapping[str, Any]] | None:
        return known.get((task.rstrip("-0123456789"), name))

    pipeline, *platform = _uploads()[version]["documents"]
    return estimate(pipeline, *(platform or [{}]), given={"targets": []}, handed=handed)


def test_it_is_what_was_measured_on_a_real_kubeflow() -> None:
    """A run of taxi had 1,072 kB, and one of digits, without targets, 1.6 MB."""
    assert _recorded("taxi-ad70a819a6629c30", "taxi").total == pytest.approx(1_072_000, rel=0.05)
    assert _recorded("digits-ac2427b8eac30ba3", "digits").total == pytest.approx(1.6e6, rel=0.05)


@pytest.mark.parametrize("place", ["", *NAMES])
@pytest.mark.parametrize(("name", "most"), LIMITS.items())
def test_a_workflow_of_ours_stays_small(name: str, most: int, place: str) -> None:
    """With as much metadata as an artifact may have."""
    size = _today(name, place)
    assert size.total < most, dict(size.parts)


def _today(name: str, place: str) -> WorkflowSize:
    environment = load_environment(place) if place else None
    given = dict([BUCKET.split("=")])
    pipeline, *platform = compile_definition(load(name), {}, environment, given).documents
    return estimate(pipeline, *(platform or [{}]), given=NO_TARGETS)


def test_a_loop_counts_with_its_rounds_and_of_alternatives_one() -> None:
    pipeline, *_ = compile_definition(load("digits"), {}, None, {}).documents
    none, one, three, default = (
        estimate(pipeline, {}, given=given).total
        for given in (NO_TARGETS, *({"with_edge": {"targets": ["onnx"] * n}} for n in (1, 3)), {})
    )
    assert three - one == pytest.approx(default - three, rel=0.1)  # which has five
    assert none < one < three


@pytest.mark.parametrize("name", ["taxi", "digits"])
def test_lint_names_what_makes_a_workflow_too_large(name: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    compile_pipeline(name, str(path), environment="onprem", settings=(BUCKET,))
    found = [str(entry) for entry in lint([path]) if entry.rule == "workflow-too-large"]
    if name == "taxi":
        assert found == []
    else:  # five targets, each compiled, verified and published
        (said,) = found
        assert "becomes some 2,0" in said
        assert "the interface of" in said and "verify" in said
