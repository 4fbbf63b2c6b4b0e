"""Kills and interruptions: a rerun completes, and nothing half-written is ever read."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from command import edgeline

from edgeline.artifacts import bundle

TASKS = ["ingest", "validate", "transform", "train", "analyze", "convert", "verify", "publish"]
ROWS, STEPS = 1500, 60


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    taxi = Path(__file__).parents[2] / "pipelines" / "taxi" / "taxi.csv"
    with open(taxi) as source:
        (folder / "some.csv").write_text("".join(itertools.islice(source, ROWS)))
    return folder


def _arguments() -> list[str]:
    thresholds = json.dumps({"metrics_specs": [{"metrics": [{"class_name": "AUC"}]}]})
    return [
        *("run", "taxi", "--cache", "--set", "data=some.csv", "--set", f"steps={STEPS}"),
        *("--set", f"eval_config={thresholds}", "--set", "destination=models"),
    ]


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgeline", *_arguments()],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # a shell's background job ignores Ctrl-C, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def _wait_for_task(folder: Path, process: subprocess.Popen[str], task: str) -> psutil.Process:
    """The process that writes the task's log in the newest run."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        for log in folder.glob(f"edgeline-runs/*/logs/{task}.log"):
            for child in psutil.process_iter():  # forked by a warm process, not by the run
                try:
                    outputs = {str(Path(f"/proc/{child.pid}/fd/{n}").readlink()) for n in (1, 2)}
                except OSError:
                    continue
                if str(log) in outputs:
                    return child
        time.sleep(0.01)
    raise AssertionError(f"{task} never started: {process.stdout and process.stdout.read()}")


@pytest.mark.long  # tests/local/test_killed.py does so with a small pipeline
@pytest.mark.parametrize("killed", [["publish"], pytest.param(TASKS, id="each")])
def test_kill_9_in_a_task_then_rerun(project: Path, tmp_path: Path, killed: list[str]) -> None:
    """Each round kills a later task; the tasks before it come from the cache."""
    (tmp_path / "some.csv").write_bytes((project / "some.csv").read_bytes())
    for task in killed:
        process = _start(tmp_path)
        victim = _wait_for_task(tmp_path, process, task)
        os.kill(victim.pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 1, output
        assert f"Task {task} failed: its process was ended by SIGKILL" in output
        assert not list(tmp_path.glob("edgeline-runs/**/*.partial")), task
    finished = edgeline(tmp_path, *_arguments())
    assert finished.code == 0, finished.output
    states = {name: facts["state"] for name, facts in finished.record["tasks"].items()}
    assert states["publish"] == "succeeded"
    assert {states[task] for task in TASKS[:-1]} == {"cached"}
    versions = [folder for folder in (tmp_path / "models" / "taxi").iterdir() if folder.is_dir()]
    published = [folder for folder in versions if (folder / bundle.MANIFEST).exists()]
    assert len(published) == 1
    bundle.read(published[0])


def test_ctrl_c_ends_the_task_and_leaves_nothing_half_written(
    tmp_path: Path, project: Path
) -> None:
    (tmp_path / "some.csv").write_bytes((project / "some.csv").read_bytes())
    process = _start(tmp_path)
    task = _wait_for_task(tmp_path, process, "transform")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert not task.is_running() or task.status() == psutil.STATUS_ZOMBIE
    assert not list(tmp_path.glob("edgeline-runs/**/*.partial"))
    assert not list(tmp_path.glob("edgeline-runs/*/*/transform/transform_graph"))


def test_kill_9_of_the_run_itself_ends_its_tasks(tmp_path: Path, project: Path) -> None:
    (tmp_path / "some.csv").write_bytes((project / "some.csv").read_bytes())
    process = _start(tmp_path)
    task = _wait_for_task(tmp_path, process, "transform")
    process.kill()
    process.wait()
    psutil.wait_procs([task], timeout=30)
    assert not task.is_running() or task.status() == psutil.STATUS_ZOMBIE
