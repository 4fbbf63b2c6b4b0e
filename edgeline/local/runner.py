"""Run a pipeline on this machine: kfp.local, with warm processes, a checked cache and a record.

kfp.local keeps its order, exit handlers and retries; four of its parts are replaced while a
run lasts (see `edgeline.local.kfp_parts`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kfp.local
from kfp.local import subprocess_task_handler
from kfp.local.status import Status

from edgeline import plugins
from edgeline.components.notify.truth import NOTE
from edgeline.errors import EdgelineError, at_path
from edgeline.kubeflow.task import MODULE
from edgeline.local import containers, interfaces, kfp_parts, warm
from edgeline.local.cache import CheckedCache
from edgeline.local.plan import plan
from edgeline.local.refusals import refusals
from edgeline.local.tasks import DONE, RunResult, TaskResult
from edgeline.stores.destinations import LOCAL_RUN

ROUND = re.compile(r"-iteration-(\d+)/")  # of a loop, in the path of a task's output
USER_ERROR = re.compile(r"^edgeline\.errors\.(?:Edgeline|Usage)Error: (.*)$", re.MULTILINE)


def run(
    pipeline: Any,
    arguments: Mapping[str, Any],
    root: Path,
    cache: bool,
    on_change: Callable[[TaskResult], None],
    docker: bool = False,
) -> RunResult:
    """Run a pipeline to its end.

    Args:
        pipeline: a kfp pipeline (or a loaded compiled one).
        arguments: its parameters.
        root: where runs are kept; this one gets the folder `<pipeline>-<time>` there.
        cache: whether a task whose component, parameters and inputs have not changed is
            taken from an earlier run below `root`.
        on_change: told whenever a task starts or ends.
        docker: run each task in a container of its image, which sees this folder and `root`.
    """
    if docker:
        containers.check_engine()
    spec = pipeline.pipeline_spec
    interfaces.complete(pipeline.component_spec.implementation.graph)  # which kfp.local runs
    name = spec.pipeline_info.name
    folder = _new_folder(root, name)
    tasks = {step.component: TaskResult(step) for step in plan(spec)}
    started = time.monotonic()
    # a fully cached run needs no process at all, so none is started before the first miss
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_leftovers, folder)
        chain = _Lazy(stack, tasks, folder / "warm.log")
        watch = _watch(tasks, folder, on_change)
        if docker:
            runner = kfp.local.DockerRunner()
            handler = containers.handler(watch, [Path.cwd(), root.resolve()])
        else:
            runner = kfp.local.SubprocessRunner(use_venv=False)
            handler = _handler(chain, watch)
        stack.enter_context(kfp_parts.replaced(runner, handler, _checked_cache(tasks, on_change)))
        stack.enter_context(_quiet(folder / "kfp.log"))
        kfp.local.init(
            runner=runner,
            pipeline_root=str(folder),
            workspace_root=str(folder / "workspace"),
            raise_on_error=False,
            enable_caching=cache,
            cache_root=str(root / ".cache" / _code_digest()),
        )
        if not (docker or cache) and any(map(_stage, tasks)):
            chain.start()
        pipeline(**arguments)
    _end(tasks, on_change)
    return RunResult(name, folder, time.monotonic() - started, tasks)


def _end(tasks: dict[str, TaskResult], on_change: Callable[[TaskResult], None]) -> None:
    """What never ran was skipped; but of a loop over nothing, nothing was asked for, nor of the
    alternatives to the one that was taken."""
    begun = [result.task for result in tasks.values() if result.state != "waiting"]
    turned = {task.loop for task in begun}
    taken = dict(choice for task in begun for choice in task.choices)
    for task_name, result in list(tasks.items()):
        if result.state != "waiting":
            continue
        if any(taken.get(choice, own) != own for choice, own in result.task.choices):
            del tasks[task_name]
            continue
        needs = (tasks[before].state for before in result.task.needs if before in tasks)
        ready = all(state in DONE for state in needs)
        if result.task.loop and ready and result.task.loop not in turned:
            del tasks[task_name]
            continue
        result.state = "skipped"
        on_change(result)
    for result in tasks.values():
        task = result.task
        kept = [tuple(name for name in some if name in tasks) for some in (task.needs, task.gates)]
        result.task = replace(task, needs=kept[0], gates=kept[1])


class _Lazy:
    """The warm processes, started when first needed, for the tasks that are left then."""

    def __init__(
        self, stack: contextlib.ExitStack, tasks: Mapping[str, TaskResult], log: Path
    ) -> None:
        self._stack, self._tasks, self._log = stack, tasks, log
        self._chain: warm.Warm | None = None

    def start(self) -> warm.Warm:
        if self._chain is None:
            left = [name for name, task in self._tasks.items() if task.state != "cached"]
            stages = filter(None, map(_stage, left))
            self._chain = self._stack.enter_context(warm.Warm(list(stages), self._log))
        return self._chain


Start = Callable[[Path], warm.EndedTask]  # runs a task, given a file for its output


def _result(tasks: dict[str, TaskResult], component: str, place: str) -> TaskResult:
    """The record of a task; in a loop one for each round: compile, compile[1], ..."""
    rounds = ROUND.findall(place)
    if any(map(int, rounds)):
        name = f"{component}[{','.join(rounds)}]"
        own = replace(tasks[component].task, component=name)
        return tasks.setdefault(name, TaskResult(own))
    return tasks[component]


def _watch(
    tasks: dict[str, TaskResult], folder: Path, on_change: Callable[[TaskResult], None]
) -> Callable[[list[str], Start], Status]:
    """Starts a task, and records what became of it."""

    def watch(command: list[str], start: Start) -> Status:
        output = Path(_executor_input(command)["outputs"]["outputFile"])
        result = _result(tasks, output.parent.name, str(output))
        result.state = "running"
        result.log = folder / "logs" / f"{result.task.component}.log"
        result.log.parent.mkdir(exist_ok=True)
        result.log.touch()
        if result.task.exit_handler:
            _note(output.parents[1] / NOTE, tasks)
        on_change(result)
        started = time.monotonic()
        try:
            ended, reason = start(result.log), ""
        except EdgelineError as error:
            ended, reason = warm.EndedTask(1, 0), str(error)
        result.seconds += time.monotonic() - started
        result.cpu_seconds += ended.cpu_seconds
        result.peak_memory = max(result.peak_memory, ended.peak_memory)
        if ended.code == 0:
            result.state, result.error = "succeeded", ""
            result.outputs = _outputs(output)
        else:
            result.state, result.error = "failed", reason or _reason(result.log, ended.code)
        on_change(result)
        return Status.SUCCESS if ended.code == 0 else Status.FAILURE

    return watch


def _note(file: Path, tasks: Mapping[str, TaskResult]) -> None:
    """Tell an exit handler what became of the others: what has not begun by now never will."""
    others = {name: result for name, result in tasks.items() if not result.task.exit_handler}
    bundles = [
        str(result.outputs["uri"])
        for result in others.values()
        if "uri" in result.outputs and result.state in DONE and "bundle" in result.outputs
    ]
    states = {
        name: {
            "state": "skipped" if result.state == "waiting" else result.state,
            "error": result.error,
        }
        for name, result in others.items()
    }
    told = {"tasks": states, "published": bundles, "refused": refusals(others)}
    file.parent.mkdir(parents=True, exist_ok=True)  # where no other task had an output
    file.write_text(json.dumps(told), "utf-8")


def _handler(chain: _Lazy, watch: Callable[[list[str], Start], Status]) -> type:
    class TaskHandler(subprocess_task_handler.SubprocessTaskHandler):  # type: ignore[misc]
        """Starts a task in a warm process, or in a new one."""

        def validate_image(self, image: str) -> None:
            """Our images carry the packages that are installed here: nothing to warn of."""

        def validate_not_container_component(self, full_command: list[str]) -> None:
            """What edgeline compiled starts as a module of edgeline's, not of kfp's."""
            if not any(MODULE in word for word in full_command):
                super().validate_not_container_component(full_command)

        def run(self) -> Status:
            return watch(self.full_command, self._start)

        def _start(self, log: Path) -> warm.EndedTask:
            output = Path(_executor_input(self.full_command)["outputs"]["outputFile"])
            stage = _stage(output.parent.name)
            variables = {**self.env_vars, LOCAL_RUN: "1"}
            if stage:
                return chain.start().run(stage, self.full_command, variables, log)
            return _subprocess(self.full_command, variables, log)

    return TaskHandler


def _stage(component: str) -> str | None:
    """The warm process that a component's task is forked from, if any."""
    own_name = re.sub(r"-\d+$", "", component)  # a second task of a component has a number
    return warm.COMPONENT_STAGE.get(own_name) if warm.is_supported() else None


def _subprocess(command: Sequence[str], env: Mapping[str, str], log: Path) -> warm.EndedTask:
    import sys

    command = subprocess_task_handler.replace_python_executable(list(command), sys.executable)
    # kfp's command makes a folder for the component's source, and leaves it
    with open(log, "ab") as stream, tempfile.TemporaryDirectory() as temporary:
        variables = {**os.environ, "TMPDIR": temporary, **env}
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=variables)
        try:
            return warm.EndedTask(process.wait(), 0)
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise


def _executor_input(command: Sequence[str]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(command[command.index("--executor_input") + 1])
    return value


def _outputs(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    written = json.loads(file.read_text())
    artifacts = {
        name: entry["artifacts"][0] for name, entry in written.get("artifacts", {}).items()
    }
    for artifact in artifacts.values():
        # metrics are all metadata: without a file kfp's cache takes them as lost
        Path(artifact["uri"]).parent.mkdir(parents=True, exist_ok=True)
        if not Path(artifact["uri"]).exists():
            Path(artifact["uri"]).touch()
    return {**written.get("parameterValues", {}), **artifacts}


def _reason(log: Path, code: int) -> str:
    text = log.read_text(errors="replace")
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}; see {log}"
    if sentences := USER_ERROR.findall(text):
        return str(sentences[-1])
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "no output")
    return f"{last.strip()} (see {log})"


def _checked_cache(
    tasks: dict[str, TaskResult], on_change: Callable[[TaskResult], None]
) -> type[CheckedCache]:
    def on_hit(component: str, outputs: dict[str, Any]) -> None:
        place = next((value.uri for value in outputs.values() if hasattr(value, "uri")), "")
        result = _result(tasks, component, place)
        result.state = "cached"
        result.outputs = {
            name: {"uri": value.uri, "metadata": dict(value.metadata)}
            if hasattr(value, "uri")
            else value
            for name, value in outputs.items()
        }
        on_change(result)

    return type("RunCache", (CheckedCache,), {"on_hit": staticmethod(on_hit)})


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """What kfp.local prints goes to a file: the progress display has the terminal."""
    with (
        open(log, "w") as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        handlers, level = logging.root.handlers[:], logging.root.level
        try:
            yield
        finally:
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)


def _remove_leftovers(folder: Path) -> None:
    """Drafts that a killed task of this run left beside its outputs; nothing reads them."""
    for draft in folder.glob("*/*/*.partial"):
        shutil.rmtree(draft, ignore_errors=True) if draft.is_dir() else draft.unlink()


def _new_folder(root: Path, name: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(100):
            folder = root / (f"{name}-{stamp}" + (f"-{number}" if number else ""))
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder.resolve()
    except OSError as error:
        raise at_path(
            error,
            f"Runs cannot be kept in {root} ({error.strerror}): name another folder with --root.",
        ) from error
    raise RuntimeError(f"no free folder for a run in {root}")


def _code_digest() -> str:
    """Of edgeline's own files and plug-ins': a task is not taken from a run of other code."""
    digest = hashlib.sha256(plugins.digest().encode())
    package = Path(__file__).resolve().parents[1]
    import edgeline.components

    for folder in (package, *map(Path, edgeline.components.__path__)):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
