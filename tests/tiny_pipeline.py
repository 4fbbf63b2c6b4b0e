"""A pipeline of three tasks that tell when they run, in this process: no imports, no forks."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import traceback
from pathlib import Path
from typing import Any

import pytest

TINY = """
from kfp import dsl


@dsl.component(base_image="python", install_kfp_package=False)
def read(word: str, made: dsl.Output[dsl.Artifact]):
    from pathlib import Path

    exec(Path("before-read.py").read_text() if Path("before-read.py").exists() else "")
    Path(made.path).write_text(word)
    with open("ran.txt", "a") as stream:
        stream.write("read ")


@dsl.component(base_image="python", install_kfp_package=False)
def grow(made: dsl.Input[dsl.Artifact], times: int, grown: dsl.Output[dsl.Artifact]) -> int:
    from pathlib import Path

    exec(Path("before-grow.py").read_text() if Path("before-grow.py").exists() else "")
    text = Path(made.path).read_text() * times
    Path(grown.path).mkdir()
    Path(grown.path, "text").write_text(text)
    with open("ran.txt", "a") as stream:
        stream.write("grow ")
    return len(text)


@dsl.component(base_image="python", install_kfp_package=False)
def tell(length: int, address: str, metrics: dsl.Output[dsl.Metrics]) -> str:
    from pathlib import Path

    exec(Path("before-tell.py").read_text() if Path("before-tell.py").exists() else "")
    metrics.log_metric("length", length)
    with open("ran.txt", "a") as stream:
        stream.write("tell ")
    return f"{length} to {address}"


@dsl.pipeline(name="tiny")
def pipeline(word: str = "ab", times: int = 3, address: str = "here", hub_token: str = ""):
    made = read(word=word)
    grown = grow(made=made.outputs["made"], times=times)
    tell(length=grown.outputs["Output"], address=address).set_caching_options(False)
"""


class Tiny:
    """The pipeline in a folder, and how it is run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "edgeline-runs"
        self.said = io.StringIO()
        (folder / "tiny.py").write_text(TINY)

    def before(self, task: str, code: str) -> None:
        """What a task does first, from now on."""
        (self.folder / f"before-{task}.py").write_text(code)

    def ran(self) -> str:
        """The tasks that have ended well since this was asked last."""
        file = self.folder / "ran.txt"
        text = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        return text.strip()

    def run(self, *settings: str, cache: bool = False) -> str:
        """Run it; the sentence that it ended with, or "".

        Raises:
            KeyboardInterrupt: a task did.
        """
        from edgeline.cli.run import run_pipeline

        return self._ended(lambda: run_pipeline("tiny.py", settings, self.root, cache))

    def resume(self, *settings: str, name: str = "latest", start: str = "") -> str:
        """Go on with a run, as `run`."""
        from edgeline.cli.run import resume_run

        return self._ended(lambda: resume_run(name, "", settings, self.root, False, False, start))

    def _ended(self, work: Any) -> str:
        from edgeline.errors import EdgelineError

        with contextlib.redirect_stdout(self.said):
            try:
                work()
            except EdgelineError as error:
                return str(error)
        return ""

    @property
    def shown(self) -> str:
        """All that was printed since this was asked last, in one line."""
        text = " ".join(self.said.getvalue().split())
        self.said.seek(0)
        self.said.truncate()
        return text

    @property
    def runs(self) -> list[Path]:
        return sorted(file.parent for file in self.root.glob("*/run.json"))

    def record(self) -> dict[str, Any]:
        """The record of the only run."""
        [run] = self.runs
        return json.loads((run / "run.json").read_text())

    def states(self) -> dict[str, str]:
        return {name: task["state"] for name, task in self.record()["tasks"].items()}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    from edgeline.local import runner

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "_subprocess", _in_this_process)
    return Tiny(tmp_path)


def _in_this_process(command: list[str], env: dict[str, str], log: Path) -> Any:  # noqa: ARG001
    """What kfp's executor does in a task's process."""
    from kfp.dsl.executor import Executor

    from edgeline.local.warm.task import EndedTask

    start = command.index("--executor_input")
    file = log.with_suffix(".py")
    file.write_text(command[start - 1])
    spec = importlib.util.spec_from_file_location("ephemeral", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    file.unlink()
    name = command[command.index("--function_to_execute") + 1]
    try:
        Executor(json.loads(command[start + 1]), getattr(module, name)).execute()
    except Exception:
        log.write_text(log.read_text() + traceback.format_exc())
        return EndedTask(1, 0)
    return EndedTask(0, 0)
