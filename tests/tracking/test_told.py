"""Runs, tasks and published versions in MLflow: all of each, once, also when its server was down.

One module, as MLflow's server is a session's and takes ten seconds to start.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import Mlflow
from published_bundle import publish
from tiny_pipeline import Tiny, tiny

from edgeline import artifacts
from edgeline.artifacts.bundle import read_manifest
from edgeline.errors import EdgelineError
from edgeline.kubeflow import face, tracked
from edgeline.local import telling, tracking_state
from edgeline.tracking import entries, sending
from edgeline.tracking.tracker import Tracker

__all__ = ["tiny"]
pytestmark = pytest.mark.slow  # each tracked run imports MLflow in a process beside it
ROOT = Path(__file__).parents[2]


def state(folder: Path) -> tracking_state.TrackingState:
    found = tracking_state.read(folder)
    assert found is not None
    return found


@pytest.fixture
def folder(tiny: Tiny, mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a run whose tracker was down, with an address that has a password."""
    assert mlflow._process is None
    with_password = mlflow.uri.replace("//", "//ada:s3cret@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", with_password)
    assert tiny.run("hub_token=t0ken", "address=http://u:s3cret@host/x?sig=s3cret") == ""
    [found] = tiny.runs
    return found


def test_a_run_whose_tracker_was_down_is_green_and_sent_later_once(
    folder: Path, tiny: Tiny, mlflow: Mlflow, capfd: pytest.CaptureFixture[str]
) -> None:
    said = tiny.shown
    assert "The tracker has not got all of this run." in said
    assert f"`edgeline runs track {folder.name}`" in said
    assert tiny.states()["tell"] == "succeeded"
    assert not state(folder).complete

    mlflow.start()
    assert tiny.run("times=4") == ""  # the next run sends both
    said = tiny.shown
    link = state(tiny.runs[1]).link
    assert f"Tracked: {link}" in said and link.startswith(f"{mlflow.uri}/#/experiments/")
    assert state(folder).complete

    runs = {run.info.run_name: run for run in mlflow.runs("tiny")}
    assert sorted(runs) == [run.name for run in tiny.runs]
    told = runs[folder.name]
    assert told.info.status == "FINISHED"
    assert told.data.params["times"] == "3"
    assert told.data.params["hub_token"] == "(left out)"
    assert told.data.params["address"] == "http://host/x"
    assert told.data.metrics["tell/length"] == 6.0
    assert told.data.tags["edgeline.pipeline"] == "tiny"
    assert {"run.json", "index.html"} <= {*mlflow.files(told.info.run_id)}

    # everything once more, as after an answer that was lost
    forgotten = state(folder)
    forgotten.run, forgotten.sent, forgotten.complete = "", (), False
    tracking_state.write(folder, forgotten)
    lines: list[str] = []
    assert telling.send_pending(tiny.root, "", lines.append) == 1
    assert lines == [f"{folder.name}: Tracked: {state(folder).link}"]
    assert len(mlflow.runs("tiny")) == 2
    history = mlflow.client.get_metric_history(told.info.run_id, "tell/length")
    assert [point.value for point in history] == [6.0]

    said = capfd.readouterr()
    assert "s3cret" not in said.out + said.err  # nor has mlflow printed it
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "executor_output.json":  # which the task itself wrote
            assert b"s3cret" not in file.read_bytes(), file


def test_a_run_that_goes_on_is_the_same_run(
    tiny: Tiny, mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeline.local.runs import named

    uri = mlflow.start().uri
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "going on")
    tiny.before("grow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        tiny.run()
    telling.send_one(named(tiny.root, "tiny"), uri)
    [told] = mlflow.runs("going on")
    assert told.info.status == "KILLED"
    tiny.before("grow", "")
    assert tiny.resume("times=5") == ""
    telling.send_one(named(tiny.root, "tiny"), uri)
    [told] = mlflow.runs("going on")
    assert told.info.status == "FINISHED"
    assert told.data.params["times"] == "3"  # MLflow lets no parameter be changed
    assert told.data.tags["edgeline.changed.times"] == "5"
    assert told.data.metrics["tell/length"] == 10.0


def test_a_run_that_was_not_tracked_is_sent_by_name(tiny: Tiny, mlflow: Mlflow) -> None:
    from edgeline.local.runs import named

    assert tiny.run("word=untracked") == ""
    [folder] = tiny.runs
    assert not (folder / tracking_state.STATE).exists()
    run = named(tiny.root, folder.name)
    with pytest.raises(EdgelineError, match=r"Name a tracker for run .*: --track URI"):
        telling.send_one(run, "")
    telling.send_one(run, mlflow.start().uri)
    told = mlflow.client.get_run(state(folder).run)
    assert told.data.params["word"] == "untracked"
    assert telling.send_pending(tiny.root, "", print) == 0


def test_a_run_that_is_not_sent_is_not_pruned(tiny: Tiny) -> None:
    from edgeline.local import pruning

    assert tiny.run() == ""
    assert tiny.run("times=9") == ""
    first = tiny.runs[0]
    assert [run.folder for run, _ in pruning.plan(tiny.root, limit=0).remove] == [first]
    tracking_state.begin(first, "http://127.0.0.1:1", "tiny")
    planned = pruning.plan(tiny.root, limit=0)
    assert not planned.remove
    assert planned.stays[first.name] == "its tracker has not got all of it"


def test_a_tracker_that_is_asked_for_without_mlflow_is_refused(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeline.cli.run import run_pipeline

    monkeypatch.setattr(tracking_state, "is_installed", lambda: False)
    with pytest.raises(EdgelineError, match=r"pip install 'edgeline\[mlflow\]'"):
        run_pipeline("tiny.py", (), tiny.root, False, track="http://127.0.0.1:1")
    assert not tiny.runs
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert tiny.run() == ""
    assert "This run is kept, and not sent to http://127.0.0.1:1." in tiny.shown
    assert json.loads((tiny.runs[0] / tracking_state.STATE).read_text())["complete"] is False


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


def test_the_alias_stays_at_the_higher_version_whichever_is_sent_last(
    mlflow: Mlflow, tmp_path: Path
) -> None:
    tracker, run = Tracker(mlflow.uri), of_kubeflow(mlflow, "late-alias")
    told = {number: publish(tmp_path / number, "order", number) for number in ("1", "2")}
    for number in ("2", "1"):  # the tracker was down when 1 was published
        found = entries.version_of(str(told[number]))
        tags = {**found.tags, "edgeline.version": number, "edgeline.uri": f"models/order/{number}"}
        sent = replace(found, uri=f"models/order/{number}", tags=tags)
        tracker.log(run, entries.TrackedEntry(number, 1000, published=(sent,)))
        holder = mlflow.client.get_model_version_by_alias("order", "published")
        assert holder.tags["edgeline.version"] == "2"
    moved = {**tags, "edgeline.uri": "other/order/1"}  # another store has numbers of its own
    sent = replace(found, uri="other/order/1", tags=moved)
    tracker.log(run, entries.TrackedEntry("other", 1000, published=(sent,)))
    holder = mlflow.client.get_model_version_by_alias("order", "published")
    assert holder.tags["edgeline.uri"] == "other/order/1"
