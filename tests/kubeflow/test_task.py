"""A task's process as a pod starts it: why it failed stands first, last and in the message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeline.client.compiling import compile_pipeline
from edgeline.kubeflow import face, inputs

SOURCE = """
import os, subprocess, sys
from edgeline.errors import EdgelineError

def step(kind: str):
    print("begun", flush=True)
    if kind == "refuses":
        subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
        raise EdgelineError("row 7 of a.csv has no\\n fare: add it.")
    if kind == "raises":
        raise KeyError("x")
    if kind == "exits":
        sys.exit(3)
    if kind == "crashes":
        os.kill(os.getpid(), 9)
    print("done")
"""


def run(folder: Path, kind: str, hold: float = 60.0) -> tuple[int, list[str], str]:
    """The exit code, the log and the termination message."""
    (folder / "step.py").write_text(SOURCE)
    message = folder / "termination-log"
    message.touch()
    given = {
        "inputs": {"parameterValues": {"kind": kind}},
        "outputs": {"outputFile": str(folder / "output.json")},
    }
    start = (
        "import pathlib; from edgeline.kubeflow import task\n"
        "from kfp.dsl.executor_main import executor_main\n"
        f"with task.telling({hold}, pathlib.Path({str(message)!r})): executor_main()"
    )
    command = [sys.executable, "-c", start, "--component_module_path", str(folder / "step.py")]
    command += ["--function_to_execute", "step", "--executor_input", json.dumps(given)]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "_KFP_RUNTIME": "true"},
    )
    return done.returncode, done.stdout.splitlines(), message.read_text()


def test_a_refusal_comes_first_and_last_and_is_the_message(tmp_path: Path) -> None:
    code, log, message = run(tmp_path, "refuses")
    assert (code, message) == (1, "row 7 of a.csv has no fare: add it.")
    assert log[0] == log[-1] == f"Failed: {message}"
    assert "Looking for component `step`" in log[1]
    assert (
        log.index("begun")
        < log.index("of a child")
        < log.index("Traceback (most recent call last):")
    )


def test_another_failure_is_told_with_its_kind(tmp_path: Path) -> None:
    assert run(tmp_path, "raises")[1][0] == "Failed: KeyError: 'x'"
    assert run(tmp_path, "exits")[0] == 3


def test_what_was_printed_for_long_enough_is_live_and_the_reason_comes_last(
    tmp_path: Path,
) -> None:
    code, log, message = run(tmp_path, "refuses", hold=0.0)
    assert code == 1
    assert "Looking for component" in log[0]
    assert log[-1] == f"Failed: {message}"


def test_a_good_task_s_log_is_as_it_was(tmp_path: Path) -> None:
    code, log, message = run(tmp_path, "works")
    assert (code, message) == (0, "")
    assert "Looking for component" in log[0]
    assert "done" in log
    assert not any(line.startswith("Failed:") for line in log)


def test_what_a_crash_leaves_is_not_lost(tmp_path: Path) -> None:
    code, log, _ = run(tmp_path, "crashes")
    assert code == -9
    assert "Looking for component" in log[0]


def test_only_what_runs_in_edgeline_s_images_is_started_so(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from kfp import dsl\n"
        "from edgeline.components.faces import notify\n"
        "@dsl.component(base_image='python:3.11', install_kfp_package=False)\n"
        "def step(): print('x')\n"
        "@dsl.pipeline(name='own')\n"
        "def pipeline():\n"
        "    with dsl.ExitHandler(notify()):\n"
        "        step()\n"
    )
    path = compile_pipeline(str(own), str(tmp_path / "own.yaml"))
    spec: Any = yaml.safe_load(path.read_text())
    commands = {
        label: " ".join(executor["container"]["command"])
        for label, executor in spec["deploymentSpec"]["executors"].items()
    }
    assert "python3 -m edgeline.kubeflow.task " in commands["exec-notify"]
    assert "python3 -m kfp.dsl.executor_main " in commands["exec-step"]


@pytest.mark.parametrize("arguments", [[], ["--component_module_path", "x.py"]])
def test_the_module_starts_as_kfp_s_own(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "edgeline.kubeflow.task", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--function_to_execute" in done.stdout + done.stderr


def given(tmp_path: Path, made: str, taken: str) -> dict[str, Any]:
    """What a launcher hands `check` of a model that was made under one scheme, by the root's."""

    def one(uri: str) -> dict[str, Any]:
        return {"artifacts": [{"name": "1", "type": {"instanceSchema": ""}, "uri": uri}]}

    return {
        "inputs": {"artifacts": {"edge_model": one(f"{made}mlpipeline/old/edge_model")}},
        "outputs": {
            "artifacts": {"placement_report": one(f"{taken}mlpipeline/new/placement_report")},
            "outputFile": str(tmp_path / "output.json"),
        },
    }


def test_an_input_that_the_launcher_did_not_bring_is_named_with_the_way_out(
    tmp_path: Path,
) -> None:
    """As a real one did after a change of the root: the input's folder is not there."""
    digest = face.digest(face.source("check") or "")
    words = ["-m", "edgeline.kubeflow.task", f"{face.DIGEST}{digest}", face.FUNCTION, "check"]
    handed = json.dumps(given(tmp_path, "minio://", "s3://"))
    done = subprocess.run(
        [sys.executable, *words, "--executor_input", handed],
        capture_output=True,
        text=True,
        check=False,
    )
    first, *_, last = done.stdout.splitlines()
    assert done.returncode == 1
    assert first == last
    assert "the input edge_model, minio://mlpipeline/old/edge_model: this run's root" in first
    assert "give another cache_name" in first


@pytest.mark.parametrize(
    ("made", "taken"), [("s3://", "s3://"), ("https://", "s3://"), ("minio://", "/")]
)
def test_other_inputs_are_left_to_the_component(tmp_path: Path, made: str, taken: str) -> None:
    inputs.check(given(tmp_path, made, taken))
    inputs.check({"inputs": {}, "outputs": {"outputFile": "output.json"}})


def test_an_input_that_is_there_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlpipeline" / "old" / "edge_model").mkdir(parents=True)
    monkeypatch.setitem(inputs.PLACES, "minio", f"{tmp_path}/")
    inputs.check(given(tmp_path, "minio://", "s3://"))
