"""Runs of this machine in MLflow: all of each, once, also when its server was down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow_server import Mlflow
from tiny_pipeline import Tiny, tiny

from edgeline.errors import EdgelineError
from edgeline.local import telling, tracking_state

__all__ = ["tiny"]
pytestmark = pytest.mark.slow  # each tracked run imports MLflow in a process beside it


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
