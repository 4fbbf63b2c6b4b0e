"""kill -9 in a task, or of the run in each of its tasks: nothing is done twice or read damaged."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_pipeline import TINY, Tiny, tiny

from edgeline.local import runner
from edgeline.local.warm.task import EndedTask

__all__ = ["tiny"]

KILL = """
import os, pathlib, signal, time
if {made!r} in locals():
    pathlib.Path(locals()[{made!r}].path).write_text("half")
[file] = pathlib.Path("edgeline-runs").glob("*/.running")
pathlib.Path("task").write_text(str(os.getpid()))
os.kill(int(file.read_text()), signal.SIGKILL)
time.sleep(600)
"""


def edgeline(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeline", "run", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_a_killed_task_fails_its_run_and_the_next_does_it_again(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    kills = tmp_path / "before-grow.py"
    kills.write_text(
        "import os\nPath(grown.path).mkdir()\nPath(grown.path, 'text').write_text('half')\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = edgeline(tmp_path, "tiny.py", "--cache")
    assert killed.returncode == 1
    said = " ".join((killed.stdout + killed.stderr).split())
    assert "Task grow failed: its process was ended by SIGKILL; see" in said  # not the shell's word
    assert not list(tmp_path.glob("edgeline-runs/**/*.partial"))

    kills.unlink()
    again = edgeline(tmp_path, "tiny.py", "--cache")
    assert again.returncode == 0, again.stderr
    record = json.loads(max(tmp_path.glob("edgeline-runs/*/run.json")).read_text())
    states = {name: task["state"] for name, task in record["tasks"].items()}
    assert states == {"read": "cached", "grow": "succeeded", "tell": "succeeded"}
    assert record["tasks"]["tell"]["outputs"]["Output"] == "6 to here"


def test_a_killed_task_without_a_shell_is_said_by_its_signal(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tasks that are forked from a warm process are."""
    monkeypatch.setattr(runner, "_subprocess", lambda *_: EndedTask(-signal.SIGKILL, 0))
    assert "Task read failed: its process was ended by SIGKILL; see " in tiny.run()


@pytest.mark.long  # six processes that import kfp
@pytest.mark.parametrize("task", ["read", "grow", "tell"])
def test_a_killed_run_goes_on(tmp_path: Path, task: str) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    file = tmp_path / f"before-{task}.py"
    made = {"read": "made", "grow": "grown", "tell": ""}[task]
    file.write_text(KILL.format(made=made))
    killed = edgeline(tmp_path, "tiny.py")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    [run] = (tmp_path / "edgeline-runs").glob("tiny-*")
    record = json.loads((run / "run.json").read_text())
    assert record["state"] == "running" and record["tasks"][task]["state"] == "running"
    order = ["read", "grow", "tell"]
    done = order[: order.index(task)]
    ran = tmp_path / "ran.txt"
    assert (ran.read_text().split() if ran.exists() else []) == done
    assert (run / "index.html").exists()

    file.unlink()
    (tmp_path / "ran.txt").write_text("")
    resumed = edgeline(tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert ran.read_text().split() == order[len(done) :]
    record = json.loads((run / "run.json").read_text())
    assert record["state"] == "succeeded"
    assert [each["state"] for each in record["attempts"]] == ["interrupted", "succeeded"]
    assert record["tasks"]["tell"]["outputs"]["Output"] == "6 to here"
    assert not list(run.rglob("*.partial"))
    # the task that was at work has ended with its run
    assert not Path("/proc", (tmp_path / "task").read_text()).exists()
