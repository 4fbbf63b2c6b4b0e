"""`edgeline run`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeline.cli.arguments import PipelineCommand, new_folder, setting
from edgeline.errors import EdgelineError, UsageError

RUNS = "edgeline-runs"


@click.command(cls=PipelineCommand)
@click.argument("pipeline")
@setting
@click.option(
    "--module",
    metavar="FILE",
    help="The Python file, folder or zip with preprocessing_fn and build_model.",
)
@click.option("--cache", is_flag=True, help="Reuse the results of unchanged tasks.")
@click.option("--docker", is_flag=True, help="Run each task in a container of its image.")
@click.option(
    "--root", default=RUNS, show_default=True, callback=new_folder, help="The folder for runs."
)
def run(
    pipeline: str,
    settings: tuple[str, ...],
    module: str | None,
    cache: bool,
    docker: bool,
    root: str,
) -> None:
    """Run PIPELINE on this machine.

    PIPELINE is one that `edgeline pipelines` lists, a Python file with a variable
    `pipeline`, or a compiled .yaml file. `edgeline run PIPELINE --help` also lists its parameters.
    """
    if module:
        settings = (*settings, f"module={module}")
    run_pipeline(pipeline, settings, Path(root), cache, docker)


def run_pipeline(
    pipeline: str, settings: tuple[str, ...], root: Path, cache: bool, docker: bool = False
) -> None:
    """Run a pipeline with a live display.

    Raises:
        EdgelineError: a task failed, or a model was refused.
        UsageError: the pipeline or a local file does not exist, a setting is wrong, or a required
            parameter is missing.
    """
    from rich.text import Text

    from edgeline.client.client import Client
    from edgeline.client.local import LocalRun
    from edgeline.local.progress import final_table
    from edgeline.local.refusals import refusals
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameters import missing, parameters_of, parse
    from edgeline.reports import terminal

    console = terminal.console()  # kept while kfp's own output goes to a file
    definition = catalogue.load(pipeline)
    parameters = parameters_of(definition)
    arguments = parse(settings, parameters)
    if absent := missing(parameters, arguments):
        raise UsageError(
            f"Set {', '.join(absent)} with --set NAME=VALUE: see `edgeline pipelines {pipeline}`."
        )
    client = Client(root=str(root), console=console, docker=docker)
    run = client.submit(definition, arguments, cache=cache)
    assert isinstance(run, LocalRun)
    result, page = run.result, run.page
    if console.is_terminal:
        console.print()
    console.print(final_table(result.tasks))
    console.print(
        f"\n{result.seconds:.1f} s, report: [link=file://{page}]{page}[/link]", soft_wrap=True
    )
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
