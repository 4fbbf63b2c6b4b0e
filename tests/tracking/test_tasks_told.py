"""Tasks in pods, and published versions, in MLflow: what Kubeflow cannot log, and nothing twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import Mlflow

from edgeline import artifacts
from edgeline.artifacts.bundle import Bundle, Signature, read_manifest, write_manifest
from edgeline.kubeflow import face, tracked
from edgeline.tracking import entries, sending
from edgeline.tracking.tracker import Tracker

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def of_kubeflow(mlflow: Mlflow, experiment: str) -> str:
    """A task's run as KFP's driver makes it: nested in the pipeline run's.

    NOT TESTED: the driver and the launcher themselves, which need a cluster.
    """
    client = mlflow.client
    found = client.get_experiment_by_name(experiment)
    place = found.experiment_id if found else client.create_experiment(experiment)
    parent = client.create_run(place, tags={"kfp.pipeline_run_id": "run-1"}).info.run_id
    return str(client.create_run(place, tags={"mlflow.parentRunId": parent}).info.run_id)


def executor_input(folder: Path) -> dict[str, Any]:
    (folder / "rides.csv").write_text("fare,tip\n" + "".join(f"{n},{n % 2}\n" for n in range(40)))
    kinds = {"examples": "system.Dataset", "examples_report": "system.HTML"}
    return {
        "inputs": {"parameterValues": {"data": str(folder / "rides.csv")}},
        "outputs": {
            "artifacts": {
                name: {
                    "artifacts": [
                        {
                            "name": name,
                            "uri": str(folder / name),
                            "type": {"schemaTitle": kind},
                            "metadata": {},
                        }
                    ]
                }
                for name, kind in kinds.items()
            },
            "outputFile": str(folder / "out" / "executor_output.json"),
        },
    }


def test_a_task_adds_what_kubeflow_does_not_log(mlflow: Mlflow, tmp_path: Path) -> None:
    run = of_kubeflow(mlflow, "kubeflow")
    digest = face.digest(face.source("ingest") or "")
    command = [sys.executable, "-m", "edgeline.kubeflow.task", f"{face.DIGEST}{digest}"]
    command += ["--executor_input", json.dumps(executor_input(tmp_path))]
    command += ["--function_to_execute", "ingest"]
    variables = {"MLFLOW_TRACKING_URI": mlflow.uri, "MLFLOW_RUN_ID": run}
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **variables}, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout
    assert "MLflow" not in done.stdout
    told = mlflow.client.get_run(run)
    assert (told.data.params, told.data.metrics) == ({}, {})  # KFP logs these itself
    assert told.info.status == "RUNNING"  # which KFP ends
    assert mlflow.files(run) == ["reports/task-examples_report.html"]
    digest = artifacts.read(tmp_path / "examples", "examples/v1").digest
    assert told.data.tags["edgeline.digest.task.examples"] == digest
    [used] = told.inputs.dataset_inputs
    assert told.data.tags["edgeline.data_digest"].startswith(used.dataset.digest)


def test_a_task_whose_tracker_is_down_stays_as_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = executor_input(tmp_path)
    (tmp_path / "examples_report").write_text("<!doctype html>")
    monkeypatch.setenv(sending.URI, "http://ada:s3cret@127.0.0.1:1")
    monkeypatch.setenv(sending.RUN, "f" * 32)
    tracked.tell(given)
    said = capsys.readouterr().out
    assert "MLflow has not got this task's reports, curves and digests" in said
    assert "refused" in said and "s3cret" not in said
    monkeypatch.setenv("EDGELINE_LOCAL_RUN", "1")  # of `edgeline run`, which tells all itself
    tracked.tell(given)
    assert capsys.readouterr().out == ""


def test_a_training_is_told_by_epoch(mlflow: Mlflow, tmp_path: Path) -> None:
    with artifacts.writing(tmp_path / "model", "model/v2") as draft:
        history = {"loss": [0.5, 0.25], "val_auc@50%": [0.8, float("nan")]}
        (draft.path / "history.json").write_text(json.dumps(history))
    place = {"model": str(tmp_path / "model")}
    entry = entries.of_artifacts("task", 1000, "task", place, place, "")
    run = of_kubeflow(mlflow, "epochs")
    tracker = Tracker(mlflow.uri)
    tracker.log(run, entry)
    tracker.log(run, entry)  # an answer was lost
    loss = mlflow.client.get_metric_history(run, "epoch/loss")
    assert [(each.step, each.value) for each in loss] == [(1, 0.5), (2, 0.25)]
    auc = mlflow.client.get_metric_history(run, "epoch/val_auc_50_")
    assert [(each.step, each.value) for each in auc] == [(1, 0.8)]


def test_what_tasks_could_not_tell_is_read_from_the_store_and_sent_once(
    mlflow: Mlflow, tmp_path: Path
) -> None:
    """As `edgeline runs track RUN --host URL` does when MLflow is back."""
    from edgeline.client import tracking
    from edgeline.client.stored import files_below

    run = tmp_path / "root" / "taxi" / "run-9"
    execution = "0b3e54a1-0000-4000-8000-00000000000"
    for number, task in enumerate(("train", "publish", "verify", "verify")):
        folder = run / task / f"{execution}{number}"
        folder.mkdir(parents=True)
        (folder / "task_report").write_text("<!doctype html><p>good")
        if task == "train":
            with artifacts.writing(folder / "model", "model/v2") as draft:
                (draft.path / "history.json").write_text('{"loss": [0.5, 0.25]}')
        if task == "publish":
            publish(folder, "late")
    # of Kubeflow's runs one is there, in a group's, and knows already what its task has made
    client = mlflow.client
    place = client.create_experiment("one of Kubeflow")
    above = client.create_run(place, tags={"kfp.pipeline_run_id": "run-9"}).info.run_id
    group = client.create_run(place, tags={"mlflow.parentRunId": above}).info.run_id
    nested = {"mlflow.parentRunId": group}
    train = client.create_run(place, tags=nested, run_name="train").info.run_id
    tracker = Tracker(mlflow.uri)
    files = files_below(str(tmp_path / "root"), "taxi", "run-9")
    sent = tracking.send(files, "run-9", "taxi", 1000, tracker)
    assert sent == ["publish", "train", "verify[0]", "verify[1]"]
    assert tracking.send(files, "run-9", "taxi", 1000, tracker) == []

    loss = client.get_metric_history(train, "epoch/loss")
    assert [(each.step, each.value) for each in loss] == [(1, 0.5), (2, 0.25)]
    assert mlflow.files(train) == ["reports/task-task_report.html"]
    told = {each.info.run_name: each for each in mlflow.runs("one of Kubeflow")}
    assert told["publish"].data.tags["mlflow.parentRunId"] == above
    assert "bundle/manifest.json" in mlflow.files(told["publish"].info.run_id)
    assert {"verify[0]", "verify[1]"} <= told.keys()
    assert client.get_model_version_by_alias("late", "published").tags["edgeline.version"] == "1"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return publish(tmp_path, "m")


def publish(folder: Path, name: str) -> Path:
    """What publish leaves of a version: the bundle with what is known of it."""
    with artifacts.writing(folder / "bundle", "bundle/v1") as draft:
        shutil.copy(ROOT / "tests" / "data" / "line.tflite", draft.path / "model.tflite")
        bundle = Bundle(
            name=name,
            version=1,
            target="litert",
            model="model.tflite",
            task="regression",
            quantisation="float",
            takes="raw",
            signature=Signature((), ()),
            features=(),
            files=artifacts.list_files(draft.path),
            provenance={"data_digest": "d" * 64, "git_commit": "c0ffee"},
        )
        write_manifest(draft.path, bundle)
        draft.metadata |= {"name": name, "version": 1, "uri": str(folder / "models" / name / "1")}
    return folder / "bundle"


def test_a_published_version_is_registered_once_with_its_lineage(
    mlflow: Mlflow, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"bundle": str(published)}
    entry = entries.of_artifacts("task", 1000, "publish", place, place, "")
    run = of_kubeflow(mlflow, "published")
    tracker = Tracker(mlflow.uri)
    tracker.log(run, entry)
    tracker.log(run, entry)
    client = mlflow.client
    [version] = client.search_model_versions("name = 'm'")
    manifest = read_manifest(published)
    assert version.source == f"runs:/{run}/bundle"  # a folder here is none of the server's
    assert version.tags["edgeline.version"] == "1"
    assert version.tags["edgeline.uri"].endswith("models/m/1")
    assert version.tags["edgeline.data_digest"] == "d" * 64
    assert version.tags["edgeline.git_commit"] == "c0ffee"
    assert len(version.tags["edgeline.bundle_digest"]) == 64
    assert {f"bundle/{name}" for name in manifest.files} <= {*mlflow.files(run)}
    assert client.get_model_version_by_alias("m", "published").version == version.version

    # what the guide shows
    text = (ROOT / "docs" / "tracking.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.uri)
    found: dict[str, Any] = {}
    exec(code.replace('"taxi"', '"m"'), found)
    assert found["digest"] == version.tags["edgeline.bundle_digest"]


def test_a_waiting_candidate_has_an_alias_of_its_own(published: Path) -> None:
    listing = json.loads((published / "artifact.json").read_text())
    listing["metadata"]["candidate"] = "wide"
    (published / "artifact.json").write_text(json.dumps(listing))
    version = entries.version_of(str(published))
    assert version.alias == "candidate-wide"
    assert version.tags["edgeline.candidate"] == "wide"
