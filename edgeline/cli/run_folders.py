"""`edgeline runs open|logs|tensorboard|prune`: what runs have left on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeline.cli.arguments import finite, new_folder
from edgeline.cli.run import LATEST, root_of_runs
from edgeline.cli.run_names import named
from edgeline.cli.told import Told, telling
from edgeline.errors import EdgelineError, UsageError

if TYPE_CHECKING:
    from edgeline.local.runs import KeptRun

GB = 1_000_000_000


@click.command("open")
@click.argument("run", default=LATEST)
@root_of_runs
@telling
def open_(told: Told, run: str, root: str) -> None:
    """Open the page of RUN in a browser, and print its path."""
    import webbrowser

    from edgeline.local.page import write_page

    found = named(root, run)
    page = write_page(found.result, found.record)  # of one that was killed, as it ended
    told(str(page), page=str(page))
    webbrowser.open(page.as_uri())


@click.command()
@click.argument("run", default=LATEST)
@click.argument("task", required=False)
@root_of_runs
@telling
def logs(told: Told, run: str, task: str | None, root: str) -> None:
    """Print what TASK of RUN has printed; by default what its failed tasks have."""
    from edgeline.errors import did_you_mean

    found = _run_of_logs(root, run, task)
    tasks = found.result.tasks
    if task is not None and task not in tasks:
        raise UsageError(f"Run {found.name} has no task {task!r}. {did_you_mean(task, tasks)}")
    names = [task] if task else [name for name, each in tasks.items() if each.state == "failed"]
    if not names:
        raise UsageError(
            f"No task of run {found.name} failed: name one of {', '.join(tasks)} to see its log."
        )
    for name in names:
        log = tasks[name].log
        if log is None or not log.is_file():
            why = "its result is another run's" if tasks[name].state == "cached" else "it never ran"
            raise EdgelineError(f"Task {name} of run {found.name} has no log: {why}.")
        text = log.read_text("utf-8", errors="replace")
        told("", **{name: text})
        if told.as_json:
            continue
        if len(names) > 1:
            click.echo(f"== {name}")
        click.echo(text, nl=False)


def _run_of_logs(root: str, run: str, task: str | None) -> KeptRun:
    """The run that was named; who has named a task alone is told where it stands."""
    try:
        return named(root, run)
    except UsageError:
        latest: tuple[str, ...] = ()
        with contextlib.suppress(EdgelineError):  # no run is kept
            latest = tuple(named(root, LATEST).result.tasks)
        if task is None and run in latest:
            raise UsageError(
                f"{run} is a task of the latest run, and a task follows its run: "
                f"`edgeline logs {LATEST} {run}`."
            ) from None
        raise


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN ...]")
@click.option(
    "-o",
    "--output",
    default="tensorboard",
    show_default=True,
    callback=new_folder,
    metavar="FOLDER",
    help="The folder to write to.",
)
@click.option(
    "--projector",
    is_flag=True,
    help="Write the vectors of Embedding layers, too, with the words of their rows.",
)
@root_of_runs
@telling
def tensorboard(
    told: Told, names: tuple[str, ...], output: str, projector: bool, root: str
) -> None:
    """Write the trainings of the RUNs, by default the latest, as logs that TensorBoard reads.

    Losses, metrics and the gradients' norm by epoch, and loss, learning rate and norm by step:
    `tensorboard --logdir FOLDER` draws the runs beside each other.
    """
    from edgeline.local import tensorboard as logs

    found = [named(root, name) for name in names or (LATEST,)]
    files = logs.write(found, Path(output), projector)
    told("\n".join(map(str, files)), files=[str(file) for file in files])


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN ...]")
@click.option(
    "--limit",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    callback=finite,
    metavar="GB",
    help="What all runs may take.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@root_of_runs
@telling
def prune(told: Told, names: tuple[str, ...], limit: float, dry_run: bool, root: str) -> None:
    """Remove the oldest runs until all take no more than the limit; or the given RUNs.

    The latest run of each pipeline stays, and so does one whose results another run has taken, or
    that is running.
    """
    from edgeline.local import pruning
    from edgeline.reports.report import size

    found = [named(root, name) for name in names]
    for run in found:
        if run.folder.parent != Path(root).resolve():
            raise UsageError(
                f"Run {run.folder} is not one of {root}, and nothing is removed: name its folder "
                f"with --root {run.folder.parent}."
            )
    wanted = [run.name for run in found]
    planned = pruning.plan(Path(root), int(limit * GB), wanted)
    if refused := [name for name in wanted if name in planned.stays]:
        raise EdgelineError(
            f"Run {refused[0]} cannot be removed: {planned.stays[refused[0]]}. Nothing is removed."
        )
    if not dry_run:
        pruning.remove(Path(root), planned)
    done = "would be removed" if dry_run else "removed"
    for run, taken in planned.remove:
        told(f"{done}: {run.name} ({size(taken)})")
    left = planned.total - planned.freed
    count = len(planned.remove)
    told(
        f"{count} run{'' if count == 1 else 's'} {done}, {size(left)} left in {root}.",
        removed=[] if dry_run else [run.name for run, _ in planned.remove],
        would_be_removed=[run.name for run, _ in planned.remove] if dry_run else [],
        bytes_left=left,
    )
    if not names and left > limit * GB:
        for name, why in planned.stays.items():
            told(f"stays: {name}, {why}")
