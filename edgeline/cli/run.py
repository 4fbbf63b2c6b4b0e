"""`edgeline run`."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeline.cli.arguments import as_json, new_folder, setting
from edgeline.cli.pipelines import PipelineCommand
from edgeline.errors import EdgelineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from edgeline.client.local import LocalRun
    from edgeline.local.tasks import TaskResult
    from edgeline.pipelines.parameter import Parameter

RUNS = "edgeline-runs"
LATEST = "latest"
# objects between two looks for garbage: the default of 700 costs a cached run a twentieth, as all
# that its imports make stays
GARBAGE = 50_000

tracker = click.option(
    "--track",
    default="",
    metavar="URI",
    help="The MLflow tracking server that is told of it; by default MLFLOW_TRACKING_URI, if set.",
)
root_of_runs = click.option(
    "--root", default=RUNS, show_default=True, callback=new_folder, help="The folder for runs."
)


@click.command(cls=PipelineCommand)
@click.argument("pipeline", required=False)
@setting
@click.option(
    "--module",
    metavar="FILE",
    help="The Python file, folder or zip with preprocessing_fn and build_model.",
)
@click.option("--cache", is_flag=True, help="Reuse the results of unchanged tasks.")
@click.option("--docker", is_flag=True, help="Run each task in a container of its image.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=LATEST,
    metavar="[RUN]",
    help="Go on with RUN, a name that `edgeline runs` lists; by default the latest.",
)
@click.option(
    "--from",
    "start",
    metavar="TASK",
    help="With --resume: run TASK and all that follows again, although it ended well.",
)
@click.option(
    "--sample",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Take so many of the rows, for example 0.05, and publish below the folder for runs.",
)
@tracker
@root_of_runs
@as_json
def run(
    pipeline: str | None,
    settings: tuple[str, ...],
    module: str | None,
    cache: bool,
    docker: bool,
    resume: str | None,
    start: str | None,
    sample: float | None,
    track: str,
    root: str,
    as_json: bool,
) -> None:
    """Run PIPELINE on this machine, or go on with a run.

    PIPELINE is one that `edgeline pipelines` lists, a Python file with a variable
    `pipeline`, or a compiled .yaml file. `edgeline run PIPELINE --help` also lists its parameters.

    A run that failed, was interrupted or stopped goes on with --resume: what has changed since is
    said, and the tasks run that it touches, or that have not ended well. Its parameters stay as
    they were, but for those that --set gives.

    With --json the run's record is printed when it has ended, also of one that failed; what it says
    while it runs goes to stderr.
    """
    if module:
        settings = (*settings, f"module={module}")
    if sample is not None and resume is not None:
        raise UsageError("--sample is for a new run: one that goes on has the rows that it had.")
    if resume is not None:
        resume_run(
            *(resume, pipeline or "", settings, Path(root), cache, docker, start or ""),
            as_json=as_json,
            track=track,
        )
        return
    if start:
        raise UsageError("--from goes on with a run: give --resume, too.")
    if pipeline is None:
        raise click.UsageError(
            "Missing argument 'PIPELINE': a pipeline.py, or a name that `edgeline pipelines` lists."
        )
    run_pipeline(pipeline, settings, Path(root), cache, docker, sample, as_json, track)


def sampled(
    settings: tuple[str, ...], parameters: Mapping[str, Parameter], share: float, root: Path
) -> list[str]:
    """What is set for a run on a sample: nothing of it may get where devices look.

    Args:
        settings: those that are given, which count: for example another destination.
        parameters: of the pipeline.
    """
    from edgeline.local.folders import SAMPLES
    from edgeline.pipelines.flat import fields_called

    aside = {"destination": str(root.absolute() / SAMPLES)}
    aside |= {"signing_keys": "", "candidate": "", "sites": "[]"}
    given = {setting.partition("=")[0].rpartition(".")[2] for setting in settings}
    aside = {} if "destination" in given else aside
    known = {name: value for name, value in aside.items() if name not in given}
    return [
        f"sample={share!r}",
        *(
            f"{name}={value}"
            for name, value in known.items()
            if name in parameters or fields_called(name, parameters)
        ),
    ]


def run_pipeline(
    pipeline: str,
    settings: tuple[str, ...],
    root: Path,
    cache: bool,
    docker: bool = False,
    sample: float | None = None,
    as_json: bool = False,
    track: str = "",
) -> None:
    """Run a pipeline with a live display.

    Raises:
        EdgelineError: a task failed, or a model was refused.
        UsageError: the pipeline or a local file does not exist, a setting is wrong, or a required
            parameter is missing.
    """
    gc.set_threshold(GARBAGE)
    from edgeline.client.backend import RunRequest
    from edgeline.client.local import Here
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameters import missing, parameters_of, parse
    from edgeline.reports import terminal

    console = terminal.console(
        sys.stderr if as_json else None
    )  # kept while kfp's own output goes to a file
    definition = catalogue.load(pipeline)
    parameters = parameters_of(definition)
    if sample is not None:
        settings = (*settings, *sampled(settings, parameters, sample, root))
    arguments = parse(settings, parameters)
    if absent := missing(parameters, arguments):
        raise UsageError(
            f"Set {', '.join(absent)} with --set NAME=VALUE: see `edgeline pipelines {pipeline}`."
        )
    request = RunRequest(definition, arguments, cache, source=pipeline)
    _show(Here(root, console, docker, track).submit(request), console, root, as_json)


def resume_run(
    name: str,
    pipeline: str,
    settings: tuple[str, ...],
    root: Path,
    cache: bool,
    docker: bool,
    start: str,
    as_json: bool = False,
    track: str = "",
) -> None:
    """Go on with a run, with a live display.

    Args:
        name: of the run, as `edgeline.local.runs.named` takes it.
        pipeline: what the run is to be of; "" for any.
        start: a task that runs again in any case, with all that follows; "" for none.

    Raises:
        EdgelineError: as `run_pipeline`; or the run is running.
        UsageError: as `run_pipeline`; or there is no such run or task, or it cannot be gone on with
            (see `edgeline.local.resume`).
    """
    from edgeline.client.local import Here
    from edgeline.local import resume, runs
    from edgeline.pipelines.parameters import parameters_of, parse
    from edgeline.reports import terminal

    console = terminal.console(sys.stderr if as_json else None)
    run = runs.named(root, name, pipeline)
    if pipeline and pipeline not in (run.record["pipeline"], run.record["source"]):
        raise UsageError(
            f"Run {run.name} is one of {run.record['source'] or run.record['pipeline']}, not of "
            f"{pipeline}: leave one out."
        )
    resume.check(run, start)
    definition, source = resume.definition_of(run)
    parameters = parameters_of(definition)
    given = parse(settings, parameters)
    arguments = resume.arguments_of(run, parameters, given)
    console.print(f"Going on with {run.name}.", soft_wrap=True, markup=False, highlight=False)
    here = Here(run.folder.parent, console, docker or bool(run.record["docker"]), track)
    cache = cache or bool(run.record["cache"])
    _show(here.resume(run, definition, arguments, cache, source, start), console, root, as_json)


def _show(run: LocalRun, console: Console, root: Path, as_json: bool) -> None:
    """A run's table and page, and its record as JSON; what kept it from its end is raised."""
    from rich.text import Text

    from edgeline.local import record
    from edgeline.local.progress import final_table
    from edgeline.local.refusals import refusals

    result, page = run.result, run.page
    if console.is_terminal:
        console.print()
    console.print(final_table(result.tasks))
    print_candidates(console, result.tasks)
    print_requirements(console, result.tasks)
    for name, each in result.tasks.items():
        if each.again:
            console.print(
                f"{name} ran again: {each.again}", soft_wrap=True, markup=False, highlight=False
            )
    console.print(
        Text(f"\n{result.seconds:.1f} s, report: ").append(str(page), f"link file://{page}"),
        soft_wrap=True,
    )
    if result.state != "succeeded":
        where = "" if root == Path(RUNS) else f" --root {root}"
        console.print(
            f"It goes on with: edgeline run --resume {result.folder.name}{where}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    if as_json:
        click.echo(json.dumps(record.read(result.folder), indent=1))
    run.wait()  # has ended: what failed is raised
    refused = refusals(result.tasks)
    for reason in refused:
        console.print(Text(reason, "yellow"), soft_wrap=True)
    if result.skipped:
        task = result.skipped[0].task
        cause = f", because {task.condition} is false" if task.condition else ""
        raise EdgelineError(f"Task {task.component} and those after it did not run{cause}.")
    if refused:  # in a loop, where the other rounds went on
        raise EdgelineError("Not every model was published: see the reasons above.")


def print_candidates(console: Console, tasks: Mapping[str, TaskResult]) -> None:
    """A table of candidates, the one that goes on first, and why others do not; nothing where a run
    has none."""
    from rich.table import Table
    from rich.text import Text

    from edgeline.artifacts.candidates import CHOSEN, of
    from edgeline.local.summary import choice
    from edgeline.reports.candidates import cells, columns, differing

    found = choice(tasks)
    outcomes = of(found)
    if not outcomes:
        return
    names, own = columns(outcomes, found["metric"]), differing(outcomes)
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    for name in ("candidate", "state", *names, "edge model", "p99", "its own"):
        table.add_column(name, overflow="fold")
    for each in outcomes:
        colour = "green" if each.state == CHOSEN else "" if each.is_approved else "yellow"
        values = (each.name, each.state, *cells(each, names), own[each.name])
        table.add_row(*(Text(value, colour) for value in values))
    console.print(Text(f"\n{found['rule']}"), soft_wrap=True)
    console.print(table)
    for each in outcomes if found["chosen"] else ():  # else they are what refused all
        for reason in each.reasons:
            console.print(Text(f"{each.name}: {reason}", "yellow"), soft_wrap=True)


def print_requirements(console: Console, tasks: Mapping[str, TaskResult]) -> None:
    """A line for each requirement: met or not, and by how much; nothing where none was asked."""
    from rich.text import Text

    from edgeline.artifacts.outcomes import FAILED, MET
    from edgeline.local.summary import requirements
    from edgeline.reports.requirements import line

    met = requirements(tasks)
    if met:
        console.print("\nRequirements")
    for outcome in met:
        colour = {MET: "green", FAILED: "red"}.get(outcome.state, "yellow")
        console.print(Text(line(outcome), colour), soft_wrap=True)
