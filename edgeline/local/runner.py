"""Run a pipeline on this machine: kfp.local, with warm processes, a checked cache and a record.

kfp.local keeps its order, exit handlers and retries; four of its parts are replaced while a
run lasts (see `edgeline.local.kfp_parts`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kfp.local
from kfp.local import subprocess_task_handler
from kfp.local.status import Status

from edgeline.artifacts import write_text
from edgeline.components.notify.truth import NOTE
from edgeline.errors import EdgelineError
from edgeline.kubeflow.task import MODULE
from edgeline.local import containers, endings, folders, interfaces, kfp_parts, surroundings
from edgeline.local.cache import RESULTS, Reuse
from edgeline.local.plan import PlannedTask
from edgeline.local.record import now
from edgeline.local.redaction import RedactedLines, redacted, secrets_in
from edgeline.local.refusals import refusals
from edgeline.local.rounds import Rounds
from edgeline.local.tasks import DONE, RunResult, TaskResult, planned
from edgeline.local.turns import Turn, log_of, results_of
from edgeline.local.warm.for_run import ForRun, stage_of
from edgeline.local.warm.task import EndedTask
from edgeline.stores.destinations import LOCAL_RUN

OUTPUTS = "executor_output.json"  # in a task's folder
SETTINGS = "settings"  # the component whose values say what is asked for
USER_ERROR = re.compile(r"^edgeline\.errors\.(?:Edgeline|Usage)Error: (.*)$", re.MULTILINE)


def run(
    pipeline: Any,
    arguments: Mapping[str, Any],
    root: Path,
    cache: bool,
    on_change: Callable[[TaskResult], None],
    docker: bool = False,
) -> RunResult:
    """Run a pipeline to its end, in a new folder `<pipeline>-<time>` below `root`.

    Args:
        pipeline: a kfp pipeline (or a loaded compiled one).
        arguments: its parameters.
        root: where runs are kept.
        cache: whether a task whose component, parameters and inputs have not changed is
            taken from an earlier run below `root`.
        on_change: told whenever a task starts or ends.
        docker: run each task in a container of its image, which sees this folder and `root`.
    """
    if docker:
        containers.check_engine()
    folder = folders.new_folder(root, pipeline.pipeline_spec.pipeline_info.name)
    reuse = reusing(root, cache, docker)
    return run_in(folder, pipeline, arguments, planned(pipeline), reuse, on_change, docker)


def reusing(root: Path, cache: bool, docker: bool, **further: Any) -> Reuse:
    """What a run below `root` may take of earlier ones, with further fields of `Reuse`."""
    code = surroundings.code_digest()
    packages = {} if docker else surroundings.packages()
    return Reuse(root / ".cache" / code, code, cache, packages=packages, **further)


def run_in(
    folder: Path,
    pipeline: Any,
    arguments: Mapping[str, Any],
    tasks: dict[str, TaskResult],
    reuse: Reuse,
    on_change: Callable[[TaskResult], None],
    docker: bool = False,
    warm: ForRun | None = None,
) -> RunResult:
    """Run a pipeline to its end in a folder; see `run`.

    Whatever ends well is kept in the folder, so that the run can be gone on with.

    Args:
        tasks: as `planned` gives them; they are changed as tasks start and end.
        reuse: which results may be taken.
        warm: for its tasks, where they have begun to import already.
    """
    graph = pipeline.component_spec.implementation.graph  # which kfp.local runs
    interfaces.complete(graph)
    started = time.monotonic()
    # a fully cached run needs no process at all, so none is started before the first miss
    with contextlib.ExitStack() as stack:
        chain = stack.enter_context(warm or ForRun(tasks, folder))
        folders.remove_leftovers(folder)  # of one that was killed and is gone on with
        stack.callback(folders.remove_leftovers, folder)
        never = stack.enter_context(interfaces.all_kept(graph))
        turn, rounds = Turn(), Rounds(graph, tasks, arguments)
        watch = _watch(rounds, folder, on_change, turn)
        if docker:
            runner = kfp.local.DockerRunner()
            handler = containers.handler(watch, [Path.cwd(), folder.parent])
        else:
            runner = kfp.local.SubprocessRunner(use_venv=False)
            handler = _handler(chain, watch)
        results = results_of(rounds, folder, replace(reuse, never=never), on_change, turn)
        stack.enter_context(kfp_parts.replaced(runner, handler, results))
        stack.callback(_leave_out_secrets, folder)
        secrets = secrets_in({**os.environ, **arguments})
        stack.enter_context(_quiet(folder / "kfp.log", secrets))
        kfp.local.init(
            runner=runner,
            pipeline_root=str(folder),
            workspace_root=str(folder / "workspace"),
            raise_on_error=False,
            enable_caching=True,
            cache_root=str(folder / RESULTS),
        )
        if not (docker or reuse.cache or reuse.own):
            chain.begin()
        pipeline(**arguments)
    _end(tasks, on_change)
    name = pipeline.pipeline_spec.pipeline_info.name
    return RunResult(name, folder, time.monotonic() - started, tasks)


def _end(tasks: dict[str, TaskResult], on_change: Callable[[TaskResult], None]) -> None:
    """What never ran was skipped; but of a loop over nothing, nothing was asked for, nor of the
    alternatives to the one that was taken, nor of what the settings leave out. Rounds take the
    place of their loop's task."""
    begun = [result.task for result in tasks.values() if result.state != "waiting"]
    turned = {task.loop for task in begun}
    taken = dict(choice for task in begun for choice in task.choices)
    rounds = {name: sorted(x for x in tasks if x.startswith(f"{name}[")) for name in tasks}
    for task_name, result in list(tasks.items()):
        if result.state != "waiting":
            continue
        if rounds[task_name]:
            del tasks[task_name]
            continue
        if any(taken.get(choice, own) != own for choice, own in result.task.choices):
            del tasks[task_name]
            continue
        if not result.task.choices and _is_declined(result.task, tasks):
            del tasks[task_name]
            continue
        before = (tasks[name].state for name in result.task.needs if name in tasks)
        ready = all(state in DONE for state in before)
        if result.task.loop and ready and result.task.loop not in turned:
            del tasks[task_name]
            continue
        result.state = "skipped"
        on_change(result)
    for result in tasks.values():
        needs, gates = (
            tuple(x for name in some for x in ([name] if name in tasks else rounds.get(name, [])))
            for some in (result.task.needs, result.task.gates)
        )
        result.task = replace(result.task, needs=needs, gates=gates)
    order = dict.fromkeys(x for name in rounds for x in (name, *rounds[name]) if x in tasks)
    in_order = {name: tasks[name] for name in order}
    tasks.clear()
    tasks.update(in_order)


def _is_declined(task: PlannedTask, tasks: Mapping[str, TaskResult]) -> bool:
    """Whether the run's settings say that a task is not to run, whatever the others find."""
    if SETTINGS not in task.gates or SETTINGS not in tasks:
        return False
    values = tasks[SETTINGS].outputs
    said = [part.removeprefix(f"{SETTINGS}-") for part in task.condition.split(" and ")]
    return any(values.get(name) is False for name in said)


Start = Callable[[Path], EndedTask]  # runs a task, given a file for its output


def _watch(
    rounds: Rounds,
    folder: Path,
    on_change: Callable[[TaskResult], None],
    turn: Turn,
) -> Callable[[list[str], Start], Status]:
    """Starts a task, and records what became of it."""

    def watch(command: list[str], start: Start) -> Status:
        output = Path(_executor_input(command)["outputs"]["outputFile"])
        result = rounds.record_of(output.parent.name, str(output))
        turn.result = result
        result.again = "" if result.task.exit_handler else turn.again
        result.state, result.began = "running", now()
        result.log = log_of(folder, result)
        result.log.parent.mkdir(exist_ok=True)
        result.log.touch()
        before = result.log.stat().st_size  # of an attempt before, whose reason is not this one's
        if result.task.exit_handler:
            _note(output.parents[1] / NOTE, rounds.tasks)
        on_change(result)
        started, kills = time.monotonic(), endings.memory_kills()
        try:
            ended, reason = start(result.log), ""
        except EdgelineError as error:
            ended, reason = EndedTask(1, 0), str(error)
        result.seconds += time.monotonic() - started
        result.cpu_seconds += ended.cpu_seconds
        result.peak_memory = max(result.peak_memory, ended.peak_memory)
        if ended.code == 0:
            result.state, result.error = "succeeded", ""
            result.outputs = _outputs(output)
        else:
            short = endings.memory_kills() > kills
            reason = reason or _reason(result.log, ended.code, before, short)
            result.state, result.error = "failed", reason
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


def _handler(chain: ForRun, watch: Callable[[list[str], Start], Status]) -> type:
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

        def _start(self, log: Path) -> EndedTask:
            output = Path(_executor_input(self.full_command)["outputs"]["outputFile"])
            stage = stage_of(output.parent.name)
            variables = {**self.env_vars, LOCAL_RUN: "1"}
            if stage:
                return chain.start().run(stage, self.full_command, variables, log)
            return _subprocess(self.full_command, variables, log)

    return TaskHandler


def _subprocess(command: Sequence[str], env: Mapping[str, str], log: Path) -> EndedTask:
    import sys

    command = subprocess_task_handler.replace_python_executable(list(command), sys.executable)
    file = Path(__file__).with_name("leash.py")
    leash = [sys.executable, "-S", str(file)] if os.name == "posix" else []
    # kfp's command makes a folder for the component's source, and leaves it
    with open(log, "ab") as stream, tempfile.TemporaryDirectory() as temporary:
        variables = {**os.environ, "TMPDIR": temporary, **env}
        process = subprocess.Popen(
            [*leash, *command],
            stdin=subprocess.PIPE,  # which closes with this process, however that ends
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=variables,
        )
        try:
            return EndedTask(process.wait(), 0)
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
        finally:
            assert process.stdin
            process.stdin.close()


def _leave_out_secrets(folder: Path) -> None:
    """Leave secrets out of what tasks said of their outputs, which nothing reads any more."""
    for file in folder.glob(f"*/*/{OUTPUTS}"):
        with contextlib.suppress(OSError, ValueError):  # of a killed task, half written
            said = json.loads(file.read_bytes())
            if (shown := redacted(said)) != said:
                write_text(file, json.dumps(shown))


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


def _reason(log: Path, code: int, before: int, short: bool) -> str:
    """Why a task failed.

    Args:
        before: bytes of the log that are of earlier attempts.
        short: whether a process was ended for lack of memory meanwhile.
    """
    text = log.read_bytes()[before:].decode(errors="replace")
    if ended := endings.sentence(code, short):
        return f"{ended}; see {log}"
    if sentences := USER_ERROR.findall(text):
        return str(sentences[-1])
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "no output")
    return f"{last.strip()} (see {log})"


@contextlib.contextmanager
def _quiet(log: Path, secrets: Iterable[str]) -> Iterator[None]:
    """What kfp.local prints goes to a file, without secrets: the progress display has the
    terminal."""
    with (
        open(log, "w", encoding="utf-8") as file,
        RedactedLines(file, secrets) as stream,
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
