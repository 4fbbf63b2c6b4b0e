"""`edgeline runs --host`: a server's runs in a list, shown and compared, by its documented API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_client_documented_api import TASKS, client, details

pytestmark = pytest.mark.slow


def runs(server: Any, *arguments: str) -> str:
    from edgeline.cli.main import cli

    command = ["runs", *arguments, "--host", server.address]
    done = CliRunner().invoke(cli, command, env={"COLUMNS": "250"}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def submitted(server: Any, root: Path, name: str, steps: int, cash: float) -> str:
    server.tasks[name] = details(*((task, "SUCCEEDED") for task in TASKS))
    run = client(server, root=str(root))[0].submit("taxi", name=name, steps=steps)
    folder = root / "taxi" / run.id / "analyze" / "0b3e" / "evaluation"
    folder.mkdir(parents=True)
    slices = [
        {"slice": {}, "name": "Overall", "metrics": {"auc": {"value": 0.95}}},
        {"slice": {"pay": "Cash"}, "name": "pay: Cash", "metrics": {
            "auc": {"value": cash, "lower": cash - 0.01, "upper": cash + 0.01}}},
    ]  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps({"rows": 3, "slices": slices}))
    run.poll = 0.0
    return str(run.wait().id)


def test_runs_of_a_server_are_listed_shown_and_compared(server: Any, tmp_path: Path) -> None:
    first = submitted(server, tmp_path, "one", 100, 0.8)
    second = submitted(server, tmp_path, "two", 300, 0.9)
    assert first in (said := runs(server, "list")) and second in said and "succeeded" in said
    told = json.loads(runs(server, "list", "--json"))
    assert {(each["name"], each["state"]) for each in told} == {
        ("one", "succeeded"), ("two", "succeeded"),
    }  # fmt: skip
    shown = " ".join(runs(server, "show", first, "--root", str(tmp_path)).split())
    assert shown.startswith(f"one-{first[:8]}: succeeded") and "training.steps 100" in shown
    assert "auc 0.95" in shown

    said = runs(server, "compare", first, second, "--root", str(tmp_path))
    text = " ".join(said.split())
    assert "training.steps 100 300 " in text
    assert "pay: Cash: auc 0.8 (0.79 to 0.81) 0.9 (0.89 to 0.91) +0.1 yes" in text

    gone = ("--root", str(tmp_path / "gone"))  # the files: what the server tells is shown
    unread = "Its files cannot be read, so its numbers are missing here: "
    shown = " ".join(runs(server, "show", first, *gone).split())
    assert unread in shown and "training.steps 100" in shown
    text = " ".join(runs(server, "compare", first, second, *gone).split())
    assert unread in text and "training.steps 100 300" in text


def test_a_run_that_the_server_does_not_know_is_told(server: Any) -> None:
    from edgeline.errors import EdgelineError

    unknown = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(EdgelineError, match=unknown):
        runs(server, "show", unknown)


def test_what_tasks_could_not_tell_mlflow_is_sent_by_name(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeline.tracking import tracker

    told: list[tuple[str, str, str]] = []

    class Answering:
        """In place of MLflow's client: tests/tracking asks a real server."""

        def __init__(self, uri: str) -> None:
            assert uri == "http://127.0.0.1:1"

        def log_task(self, run: str, pipeline: str, task: str, _: Any) -> bool:
            told.append((run, pipeline, task))
            return len(told) == 1

    monkeypatch.setattr(tracker, "Tracker", Answering)
    run = submitted(server, tmp_path, "one", 100, 0.8)
    folder = tmp_path / "taxi" / run / "analyze" / "0b3e54a1-0000-4000-8000-000000000000"
    folder.mkdir()
    (folder / "evaluation_report").write_text("<!doctype html><p>good")
    asked = ("track", run, "--root", str(tmp_path), "--track", "http://127.0.0.1:1")
    assert runs(server, *asked).startswith(f"Sent of run {run}: analyze")
    assert {each[:2] for each in told} == {(run, "taxi")}
    assert "nothing, MLflow has it all" in runs(server, *asked)
