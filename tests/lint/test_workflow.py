"""How large workflows become: of the pipelines that a real Kubeflow ran, and of those of today."""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from edgeline.client.compiling import compile_definition, compile_pipeline
from edgeline.environments import NAMES
from edgeline.environments.environment import load as load_environment
from edgeline.lint.fitting import documents_of, too_large
from edgeline.lint.lint import lint
from edgeline.lint.workflow import COMPRESSED, FACTS, STORE, estimate
from edgeline.lint.workflow_size import WorkflowSize
from edgeline.pipelines.catalogue import load

RECORDED = Path(__file__).parents[1] / "kubeflow" / "recorded"
BUCKET = "destination=s3://models/edge"
NO_TARGETS = {"with_edge": {"targets": []}}
LIMITS = {
    "taxi": 585_000,
    "tabular": 560_000,
    "pretrained": 623_000,
    "vision": 800_000,
    "digits": 824_000,
}
MANIFESTS = Path(__file__).parents[2] / "manifests"
KFP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: workflow-controller-configmap, namespace: kubeflow}
data:
  workflowDefaults: "spec: {templateDefaults: {retryStrategy: {limit: '2', retryPolicy: OnError}}}"
"""
LONG = """
from kfp import dsl

@dsl.component(base_image="python:3.11", install_kfp_package=False)
def step(word: str): print(word)

@dsl.pipeline(name="long")
def pipeline():
    for number in range(120):
        step(word=str(number) * 200)
"""


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


def _with_store(_: str, name: str) -> Sequence[Mapping[str, Any]]:
    """An artifact as it was before tasks said nothing of their folders' store."""
    if name in ("compiled_models", "verifications"):  # of loops that had no round
        return []
    return [{"facts": FACTS, "display_name": name, "store_session_info": STORE}]


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


def test_it_is_what_runs_of_a_real_kubeflow_took() -> None:
    """Nothing was taken from the cache, and all that was not excluded ran."""
    with lzma.open(RECORDED / "workflows.json.xz") as stream:
        recorded = json.load(stream)
    for name, run in recorded.items():
        told = {} if run.get("short") else {"handed": _with_store}
        size = estimate(
            *run["documents"], given=run["parameters"], tries=run["tries"], **told
        ).total
        assert size == pytest.approx(run["bytes"], rel=0.03), name


@pytest.mark.parametrize("place", ["", *NAMES])
@pytest.mark.parametrize(("name", "most"), LIMITS.items())
def test_a_workflow_of_ours_stays_small(name: str, most: int, place: str) -> None:
    """With as much metadata as an artifact may have."""
    size = _today(name, place)
    assert size.total < most, dict(size.parts)


def test_a_workflow_of_monitor_is_a_small_one() -> None:
    pipeline, *_ = compile_definition(load("monitor"), {}, None, {}).documents
    assert estimate(pipeline, {}, given={}).total < 110_000


@pytest.mark.parametrize("name", ["tabular", "vision"])
def test_rows_that_are_to_be_explained_make_it_some_larger_and_none_little(name: str) -> None:
    documents = _documents(name, "")
    given = documents[0]["root"]["inputDefinitions"]["parameters"]["with_evaluation"]
    asked = {**given["defaultValue"], "explained_rows": 500}
    with_rows = estimate(*documents, given={**NO_TARGETS, "with_evaluation": asked}).total
    assert 20_000 < with_rows - _today(name, "").total < 40_000


@cache
def _documents(name: str, place: str) -> tuple[dict[str, Any], dict[str, Any]]:
    environment = load_environment(place) if place else None
    given = dict([BUCKET.split("=")])
    pipeline, *platform = compile_definition(load(name), {}, environment, given).documents
    return pipeline, *(platform or [{}])


def _today(name: str, place: str) -> WorkflowSize:
    return estimate(*_documents(name, place), given=NO_TARGETS)


@pytest.mark.parametrize("place", ["", *NAMES])
def test_five_targets_fit_where_argo_writes_each_node_once(place: str) -> None:
    """With `manifests/components/small-workflows`; with KFP's own settings they do not."""
    documents = _documents("digits", place)
    assert estimate(*documents, tries=1).total < COMPRESSED < estimate(*documents).total


@pytest.mark.parametrize(("place", "fit"), [("", 2), ("edge", 1)])
def test_the_targets_that_fit_are_counted(place: str, fit: int) -> None:
    found = too_large(_documents("digits", place), {})
    assert found is not None
    assert len(found.targets.fit) == fit
    assert f'{fit} of its 5 targets fit, ["ethos-u55"' in str(found)
    assert "small-workflows" in str(found)
    assert (
        too_large(_documents("digits", place), {"with_edge": {"targets": ["onnx"] * fit}}) is None
    )
    assert too_large(_documents("digits", place), NO_TARGETS) is None


def test_a_pipeline_that_is_too_large_by_itself_has_another_way_out(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text(LONG)
    path = compile_pipeline(str(path), str(tmp_path / "long.yaml"))
    found = too_large(documents_of(path), {})
    assert found is not None
    assert str(found).endswith("end: give its loops fewer rounds, or split the pipeline.")


def test_a_loop_counts_with_its_rounds_and_of_alternatives_one() -> None:
    none, one, three, default = (
        estimate(*_documents("digits", ""), given=given).total
        for given in (NO_TARGETS, *({"with_edge": {"targets": ["onnx"] * n}} for n in (1, 3)), {})
    )
    assert three - one == pytest.approx(default - three, rel=0.1)  # which has five
    assert none < one < three


def test_a_candidate_is_one_task_of_a_workflow() -> None:
    """With KFP's settings of Argo's controller, nine fit."""
    documents = _documents("candidates", "")

    def size(count: int, **more: int) -> int:
        tried = [{"name": f"c{number}", "seed": number} for number in range(count)]
        given = {"with_training": {"candidates": tried}}
        return estimate(*documents, given=given, **more).total

    assert size(4) - size(3) == pytest.approx(size(8) - size(7), rel=0.1)
    assert size(4) - size(3) < 85_000
    assert size(9) < COMPRESSED < size(11)
    assert size(22, tries=1) < COMPRESSED


def test_what_is_left_out_costs_its_driver_alone() -> None:
    pipeline, platform = _documents("taxi", "")
    tasks = pipeline["components"]["comp-condition-2"]["dag"]["tasks"]
    whole = estimate(pipeline, platform)
    published = {part.name.rpartition("/")[2]: 0 for part in whole.parts}
    for part, size in whole.parts.items():
        published[part.name.rpartition("/")[2]] += size
    assert tasks.keys() >= {"publish", "condition-6"}  # of which one runs
    assert published["publish"] < 0.25 * published["publish-2"]


@pytest.mark.parametrize("name", ["taxi", "digits"])
def test_lint_names_what_makes_a_workflow_too_large(name: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    compile_pipeline(name, str(path), environment="onprem", settings=(BUCKET,))
    found = [str(entry) for entry in lint([path]) if entry.rule == "workflow-too-large"]
    if name == "taxi":
        assert found == []
    else:  # five targets, each compiled, verified and published
        (said,) = found
        assert re.search(r"becomes some 1,[45]\d\d kB", said)
        assert "the interface of for-loop-12" in said
        assert "1 of its 5 targets fit" in said


def test_lint_reads_the_settings_of_argo_s_controller(tmp_path: Path) -> None:
    compile_pipeline("digits", str(tmp_path / "digits.yaml"), settings=(BUCKET,))
    (tmp_path / "kfp.yaml").write_text(KFP)
    rules = {entry.rule for entry in lint([tmp_path, MANIFESTS / "components"])}
    assert "workflow-too-large" in rules  # no kustomization there has the component
    used = "resources: [kfp.yaml]\ncomponents: [../components/small-workflows]\n"
    (tmp_path / "kustomization.yaml").write_text(used)
    rules = {entry.rule for entry in lint([tmp_path, MANIFESTS / "components"])}
    assert not rules & {"workflow-too-large", "workflow-defaults-lost"}
