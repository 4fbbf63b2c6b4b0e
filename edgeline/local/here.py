"""A pipeline run here: parameters in, progress and a page out."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeline import preflight, user_code
from edgeline.components.settings import candidates
from edgeline.errors import EdgelineError, UsageError
from edgeline.kubeflow import sdk
from edgeline.pipelines.flat import fields_called
from edgeline.pipelines.parameter import Parameter
from edgeline.pipelines.parameters import complete, parameters_of
from edgeline.stores import storage
from edgeline.tracking.registry import address

if TYPE_CHECKING:
    from rich.console import Console

    from edgeline.local.progress import Progress
    from edgeline.local.record import Recorder
    from edgeline.local.tasks import RunResult, TaskResult

FILE_PARAMETERS = ("data", "module")
FIRST_PAGE = 0.5  # seconds until a run that goes on has its page


@dataclass(frozen=True)
class GoingOn:
    """An earlier run that is gone on with.

    Attributes:
        folder: of the run.
        record: of it, as it was read.
        start: a component that runs again in any case, with all that follows; "" for none.
    """

    folder: Path
    record: Mapping[str, Any]
    start: str = ""


def run_here(
    definition: Any,
    arguments: Mapping[str, Any],
    root: Path,
    cache: bool,
    console: Console,
    docker: bool = False,
    source: str = "",
    earlier: GoingOn | None = None,
    track: str = "",
) -> tuple[RunResult, Path]:
    """Run a loaded pipeline with a live display; what became of it, and its page.

    The record and the page are there from the first task on, however the run ends.

    Args:
        source: what the pipeline was loaded by; "" where it was given as an object.
        earlier: the run to go on with; None for a new one.
        track: the address of a tracker that is told of it; "" for MLFLOW_TRACKING_URI's, if any.

    Raises:
        UsageError: a parameter is without a value, or the run cannot succeed (see
            `edgeline.preflight`): every mistake, on a line each; a tracker cannot be told, or what
            names a registry does not.
        EdgelineError: the run to go on with is running.
    """
    if track:
        from edgeline.local.telling import check

        check()
    address()
    parameters = parameters_of(definition)
    _refuse_null(arguments, parameters)
    _refuse_artifacts(definition)
    preflight.before_a_run_here(parameters, arguments, root, docker)

    from edgeline.local import containers, folders
    from edgeline.local.tasks import planned
    from edgeline.local.warm.for_run import ForRun

    say = partial(console.print, soft_wrap=True, markup=False, highlight=False)
    given, arguments = arguments, _local(arguments, parameters, root, docker)
    if docker:
        containers.check_engine()
    tasks = planned(definition)
    name = definition.pipeline_spec.pipeline_info.name
    folder = earlier.folder if earlier else folders.new_folder(root, name)
    with contextlib.ExitStack() as stack:
        stack.enter_context(folders.held(folder))
        warm = stack.enter_context(ForRun(tasks, folder))
        if not (docker or cache or earlier):  # else perhaps no task has to run
            warm.begin()
        # kfp.local and what it brings cost more than all questions
        sdk.import_local()
        from edgeline.local import heads, pruning, registering, runner, telling
        from edgeline.local.page import write_page
        from edgeline.local.progress import Progress
        from edgeline.local.record import Recorder

        anew = heads.following(tasks, earlier.start) if earlier else frozenset()
        inherited = heads.still_to_do(tasks, earlier.record) - anew if earlier else frozenset()
        anew |= inherited
        reuse = runner.reusing(root, cache, docker, own=earlier is not None, anew=anew)
        head = heads.head(definition, source, given, arguments, reuse, docker)
        if earlier:
            for line in heads.go_on(head, earlier.record, earlier.start):
                say(line)
            if again := [name for name in tasks if name in inherited]:
                say(f"An earlier attempt was to run these again and has not: {', '.join(again)}.")
        head["order"] = folders.next_order(folder.parent)
        heads.keep(definition, folder)
        recorder = Recorder(folder, head, tasks)
        told = stack.enter_context(telling.telling(folder, track, name, say))
        stack.enter_context(registering.registering(folder, say))
        with Progress(console, list(tasks)) as progress:
            result = _recorded(
                lambda change: runner.run_in(
                    folder, definition, arguments, tasks, reuse, change, docker, warm
                ),
                *(recorder, progress, told.look),
            )
        page = write_page(result, head)
        pruning.note_size(folder)
    if said := pruning.warning(root):
        say(said)
    return result, page


def _recorded(
    run: Callable[[Callable[[TaskResult], None]], RunResult],
    recorder: Recorder,
    progress: Progress,
    look: Callable[[], None],
) -> RunResult:
    """Run, and keep record and page as they are at any time.

    Args:
        look: called when the record has changed.
    """
    from edgeline.local.page import write_page
    from edgeline.local.tasks import RunResult

    started = time.monotonic()
    name = recorder.head["pipeline"]

    def as_it_is(unfinished: Literal["", "running", "interrupted"], error: str = "") -> RunResult:
        seconds = time.monotonic() - started
        tasks = dict(recorder.tasks)  # to which a loop's rounds are added meanwhile
        return RunResult(name, recorder.folder, seconds, tasks, unfinished, error)

    writing, over, ended = threading.Lock(), threading.Event(), threading.Event()
    pages = ThreadPoolExecutor(1)  # which draws while the next task runs

    def draw() -> None:
        write_page(as_it_is("running"), recorder.head)

    def draw_first() -> None:  # but not of a run that is over at once, as a cached one is
        if not ended.wait(FIRST_PAGE):
            draw()

    def change(task: TaskResult) -> None:
        progress.update(task)
        with writing:  # tasks side by side
            if over.is_set():  # of an interrupted run, whose last word is written
                return
            if task.state == "cached":  # comes at once, and with the next task's
                return
            recorder.write(seconds=time.monotonic() - started)
            look()
            if (
                task.state in ("succeeded", "failed") and not task.task.exit_handler
            ):  # whose end is the run's, which draws it
                with contextlib.suppress(RuntimeError):  # of one that is being interrupted
                    pages.submit(draw)

    recorder.write()
    try:
        with pages:
            pages.submit(draw_first)
            try:
                result = run(change)
            finally:
                ended.set()
    except BaseException as error:
        over.set()
        asked = isinstance(error, (KeyboardInterrupt, SystemExit))
        said = "" if asked else f"{error}" or type(error).__name__
        with writing:
            for task in recorder.tasks.values():
                if task.state == "running":
                    task.state = "canceled"
            last = as_it_is("interrupted" if asked else "", said)
            recorder.write(last.state, said, last.seconds)
            write_page(last, recorder.head)
        progress.console.print(
            f"Run {recorder.folder.name} is kept: edgeline run --resume goes on with it.",
            soft_wrap=True,
            highlight=False,
        )
        raise
    recorder.write(result.state, "", result.seconds)
    return result


def _refuse_null(arguments: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> None:
    """kfp.local ends in an exception over a parameter with neither a value nor a default."""
    for name, each in parameters.items():
        if not each.required and each.default is None and name not in arguments:
            raise UsageError(
                f"Parameter {name} has no value and no default, which a run on this machine cannot "
                f"pass: give it a value with --set {name}=VALUE, or a default in the pipeline."
            )


def _refuse_artifacts(definition: Any) -> None:
    """kfp ends in an exception over these, too: nothing in a run could give them."""
    for name, entry in definition.pipeline_spec.root.input_definitions.artifacts.items():
        if not entry.is_optional:
            raise UsageError(
                f"The pipeline takes the artifact {name}, which only another pipeline can give: "
                "take a parameter, and import the artifact with dsl.importer."
            )


def _local(
    arguments: Mapping[str, Any], parameters: Mapping[str, Parameter], root: Path, docker: bool
) -> dict[str, Any]:
    """Pin local files to their content, and give checkpoints a place that outlives the run.

    A cache keyed by parameters then sees that a file has changed.
    """
    whole = complete(parameters, arguments)
    for name in FILE_PARAMETERS:
        if name not in parameters or parameters[name].kind != "STRING":
            continue
        given = whole.get(name)
        if given and name == "module" and not docker:  # an image may have others
            _check_module(given)
        if given:
            try:
                whole[name] = user_code.pin(given) if name == "module" else storage.pin(given)
            except EdgelineError as error:
                raise type(error)(f"Parameter {name}: {error}") from error
    _pin_candidates(whole, parameters, docker)
    checkpoints = str((root / ".checkpoints").resolve())
    if "checkpoint_dir" in parameters and "checkpoint_dir" not in arguments:
        whole["checkpoint_dir"] = checkpoints
    for place in fields_called("checkpoint_dir", parameters):
        owner = place.parameter.name
        if not whole[owner].get("checkpoint_dir"):
            whole[owner] = {**whole[owner], "checkpoint_dir": checkpoints}
    if "destination" in parameters and parameters["destination"].kind == "STRING":
        given = whole.get("destination", "")
        if "://" not in given:
            whole["destination"] = str(Path(given).resolve())
    return whole


def _pin_candidates(
    whole: dict[str, Any], parameters: Mapping[str, Parameter], docker: bool
) -> None:
    """Pin the modules that candidates have of their own, as the run's is."""
    for place in fields_called(candidates.PARAMETER, parameters):
        owner = place.parameter.name
        pinned = []
        for number, each in enumerate(whole[owner].get(candidates.PARAMETER) or ()):
            module = each.get("module", "")
            try:
                if module and not docker:
                    user_code.check(module)
                pinned.append({**each, "module": user_code.pin(module)} if module else each)
            except EdgelineError as error:
                where = f"{place.called}[{number}].module"
                raise type(error)(f"Parameter {where}: {error}") from error
        whole[owner] = {**whole[owner], candidates.PARAMETER: pinned}


def _check_module(module: str) -> None:
    try:
        user_code.check(module)
    except UsageError as error:
        raise UsageError(f"Parameter module: {error}") from error
