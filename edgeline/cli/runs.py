"""`edgeline runs`: what ran on this machine, with what, and how runs compare."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgeline.cli.arguments import as_json, finite, new_file, new_folder
from edgeline.cli.run import (
    LATEST,
    RUNS,
    print_candidates,
    print_requirements,
    root_of_runs,
    tracker,
)
from edgeline.cli.told import Told, telling
from edgeline.errors import EdgelineError, UsageError

if TYPE_CHECKING:
    from edgeline.local.runs import KeptRun

SHOWN = 20  # rows of a table in a terminal
GB = 1_000_000_000
host_of_runs = click.option(
    "--host", help="The KFP API's URL: runs of that server, by their identifiers."
)
namespace_of_runs = click.option(
    "--namespace", help="With --host: the profile's namespace, on a multi-user KFP."
)


@click.group(invoke_without_command=True)
@click.pass_context
@root_of_runs
@host_of_runs
@namespace_of_runs
@as_json
def runs(context: click.Context, /, **options: Any) -> None:
    """Look at runs, of this machine or of a KFP server: list, show, compare, open, logs,
    track, tensorboard, prune. Without any of these: list.

    With --host, --root is the pipeline root that a run's files are read from, where the server does
    not tell it.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_, **options)
        return
    for name in options:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.removeprefix('as_')}"
            raise UsageError(f"{option} stands before {context.invoked_subcommand}: put it behind.")


@runs.command("list")
@root_of_runs
@host_of_runs
@namespace_of_runs
@as_json
def list_(root: str, host: str | None, namespace: str | None, as_json: bool) -> None:
    """List the runs, the latest first; of a server the latest 50."""
    _check(host, namespace)
    if host:
        _list_there(host, namespace, as_json)
        return
    from rich.markup import escape
    from rich.table import Column, Table

    from edgeline.local import pruning
    from edgeline.local.runs import look
    from edgeline.reports import terminal
    from edgeline.reports.report import size

    found, unread = look(Path(root))
    for sentence in unread:
        click.echo(f"Left out: {sentence}", err=True)
    if as_json:
        print(json.dumps([_summary(run) for run in found], indent=1))
        return
    console = terminal.console()
    if not found:
        console.print(f"No run is kept in {root}: `edgeline run PIPELINE` makes one.")
        return
    whole = [Column(title, no_wrap=True) for title in ("run", "state", "started")]
    right = [Column(title, justify="right", no_wrap=True) for title in ("time", "size")]
    table = Table(*whole, *right, "found", box=None, header_style="bold")
    for run in found:
        told = _summary(run)
        numbers = " · ".join(f"{name} {value:.4g}" for name, value in told["metrics"].items())
        table.add_row(
            *(escape(run.name), _coloured(told["state"]), told["started"]),
            *(f"{told['seconds']:.1f} s", size(told["bytes"])),
            escape(numbers or told["error"]),
        )
    console.print(table)
    if said := pruning.warning(Path(root)):
        console.print(f"\n{said}", soft_wrap=True, highlight=False, markup=False)


@runs.command()
@click.argument("run", default=LATEST)
@root_of_runs
@host_of_runs
@namespace_of_runs
@as_json
def show(run: str, root: str, host: str | None, namespace: str | None, as_json: bool) -> None:
    """Show what RUN ran, with what, and what came of it.

    RUN is a name that `edgeline runs` lists, a run's folder, or a pipeline, whose latest run is
    meant; by default the latest of all.
    """
    from rich.markup import escape
    from rich.table import Table

    from edgeline.local.page import surroundings_of
    from edgeline.local.parameters import flat, shown
    from edgeline.local.progress import final_table
    from edgeline.reports import terminal

    with _of(root, host, namespace) as named:
        found = named(run)
    if as_json:
        print(json.dumps(found.record, indent=1))
        return
    console = terminal.console()
    record = found.record
    console.print(f"[bold]{escape(found.name)}[/]: {_coloured(record['state'])}")
    if record["error"]:
        console.print(record["error"], soft_wrap=True, highlight=False, markup=False)
    if unread := record.get("unread"):  # of a server's run
        console.print(unread, soft_wrap=True, highlight=False, markup=False)
    console.print()
    console.print(final_table(found.result.tasks))
    print_candidates(console, found.result.tasks)
    print_requirements(console, found.result.tasks)
    for title, rows in (
        (
            "parameters",
            [(name, shown(value)) for name, value in flat(record["parameters"]).items()],
        ),
        ("what ran, and where", surroundings_of(record)),
    ):
        table = Table(box=None, show_header=False, title=title, title_justify="left")
        for name, value in rows:
            table.add_row(escape(name), escape(value))
        console.print()
        console.print(table)


@runs.command()
@click.argument("names", nargs=-1, metavar="RUN RUN ...")
@root_of_runs
@host_of_runs
@namespace_of_runs
@as_json
@click.option(
    "--page", callback=new_file, metavar="FILE", help="Write the comparison as an HTML page, too."
)
@click.option(
    "--markdown",
    callback=new_file,
    metavar="FILE",
    help="Write it as tables for a comment, too.",
)
def compare(
    names: tuple[str, ...],
    root: str,
    host: str | None,
    namespace: str | None,
    as_json: bool,
    page: str | None,
    markdown: str | None,
) -> None:
    """Compare RUNs with the first of them.

    What they were given differently comes first, then metrics with their intervals, slices that
    moved, sizes and latencies. A RUN can also be a published bundle: a folder, or an s3:// or
    minio:// address.
    """
    from rich.markup import escape
    from rich.table import Table

    from edgeline.local import comparison_page
    from edgeline.local.comparison import compare as work
    from edgeline.reports import terminal

    with contextlib.ExitStack() as stack:
        named = stack.enter_context(_of(root, host, namespace))
        compared = work([_published(name, stack) or named(name) for name in names])
    if page:
        comparison_page.write(Path(page), compared)
    if markdown:
        comparison_page.write_markdown(Path(markdown), compared)
    if as_json:
        print(json.dumps(dataclasses.asdict(compared), indent=1))
        return
    console = terminal.console()
    for title, note, head, rows in comparison_page.tables(compared):
        console.print(f"[bold]{title}[/]")
        if note:
            console.print(note, soft_wrap=True, highlight=False, markup=False)
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for column in head:
            table.add_column(column, overflow="fold")
        for row in rows[:SHOWN]:
            table.add_row(*map(escape, row))
        if rows:
            console.print(table)
        if more := len(rows) - SHOWN if len(rows) > SHOWN else 0:
            console.print(f"{more} more: --json and --page have them.")
        console.print()
    if page:
        console.print(f"page: {page}", soft_wrap=True, highlight=False, markup=False)


@runs.command("open")
@click.argument("run", default=LATEST)
@root_of_runs
@telling
def open_(told: Told, run: str, root: str) -> None:
    """Open the page of RUN in a browser, and print its path."""
    import webbrowser

    from edgeline.local.page import write_page

    found = _named(root, run)
    page = write_page(found.result, found.record)  # of one that was killed, as it ended
    told(str(page), page=str(page))
    webbrowser.open(page.as_uri())


@runs.command()
@click.argument("run", default=LATEST)
@click.argument("task", required=False)
@root_of_runs
@telling
def logs(told: Told, run: str, task: str | None, root: str) -> None:
    """Print what TASK of RUN has printed; by default what its failed tasks have."""
    from edgeline.errors import did_you_mean

    found = _named(root, run)
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


@runs.command()
@click.argument("run", required=False)
@tracker
@root_of_runs
@host_of_runs
@namespace_of_runs
@telling
def track(
    told: Told, run: str | None, track: str, root: str, host: str | None, namespace: str | None
) -> None:
    """Send RUN to an MLflow tracking server; by default all that a server has not got all of.

    RUN can be one that was not tracked when it ran. What the server has already is not sent again.
    With --host it is a run of a KFP server, whose tasks could not reach MLflow.
    """
    from edgeline.local import telling as sending

    _check(host, namespace)
    if host:
        _track_there(told, run, track, root, host, namespace)
        return
    if run is None:
        count = sending.send_pending(Path(root), track, told)
        told(f"{count} run{'' if count == 1 else 's'} sent.", sent=count)
        return
    sending.send_one(_named(root, run), track)
    told(sending.outcome(_named(root, run).folder), sent=1)


@runs.command()
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

    found = [_named(root, name) for name in names or (LATEST,)]
    files = logs.write(found, Path(output), projector)
    told("\n".join(map(str, files)), files=[str(file) for file in files])


@runs.command()
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

    wanted = [_named(root, name).name for name in names]
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


def _list_there(host: str, namespace: str | None, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    from edgeline.client.there import listed
    from edgeline.kubeflow.api import connect
    from edgeline.reports import terminal

    found = listed(connect(host, namespace))
    if as_json:
        print(json.dumps(found, indent=1))
        return
    whole = [Column(title, no_wrap=True) for title in ("run", "name", "state", "started")]
    table = Table(*whole, Column("time", justify="right"), box=None, header_style="bold")
    for run in found:
        table.add_row(
            *(escape(run["run"]), escape(run["name"]), _coloured(run["state"]), run["started"]),
            f"{run['seconds']:.1f} s",
        )
    terminal.console().print(table if found else "The server tells of no run.")


def _track_there(
    told: Told, run: str | None, track: str, root: str, host: str, namespace: str | None
) -> None:
    from edgeline.client import there
    from edgeline.kubeflow.api import connect
    from edgeline.local import telling as sending
    from edgeline.local import tracking_state

    sending.check()
    place = track or os.environ.get(tracking_state.URI, "")
    if run is None or not place:
        what = (
            "the run of the server"
            if run is None
            else f"a tracker, --track URI or {tracking_state.URI}"
        )
        raise UsageError(f"Name {what}.")
    sent = there.track(connect(host, namespace), run, "" if root == RUNS else root, place)
    told(f"Sent of run {run}: {', '.join(sent) or 'nothing, MLflow has it all'}.", sent=len(sent))


@contextlib.contextmanager
def _of(root: str, host: str | None, namespace: str | None) -> Iterator[Callable[[str], KeptRun]]:
    """What finds a run by its name, here or on a server; files of the latter go when it ends."""
    _check(host, namespace)
    if host is None:
        yield lambda name: _named(root, name)
        return
    from edgeline.client.there import fetched
    from edgeline.kubeflow.api import connect

    server, place = connect(host, namespace), "" if root == RUNS else root
    with tempfile.TemporaryDirectory(prefix="edgeline-runs-") as folder:
        yield lambda name: fetched(server, name, place, Path(folder))


def _check(host: str | None, namespace: str | None) -> None:
    """Runs of this machine have no namespace: who gives one means a server's."""
    if namespace and not host:
        raise UsageError("--namespace is for --host: leave it out, or give both.")


def _published(name: str, stack: contextlib.ExitStack) -> KeptRun | None:
    """A bundle as a run; None where a name is not a bundle's."""
    from edgeline.local.published import is_bundle, of_bundle
    from edgeline.stores.store import local_copy

    if not is_bundle(name):
        return None
    return of_bundle(name, stack.enter_context(local_copy(name)))


def _named(root: str, name: str) -> KeptRun:
    from edgeline.local.runs import named

    return named(Path(root), name)


def _summary(run: KeptRun) -> dict[str, Any]:
    """What a list says of a run, as JSON."""
    from edgeline.local.pruning import size_of
    from edgeline.local.summary import headline

    record = run.record
    failed = [f"{name}: {task['error']}" for name, task in record["tasks"].items() if task["error"]]
    return {
        "run": run.name,
        "pipeline": record["pipeline"],
        "state": record["state"],
        "started": record["started"],
        "seconds": record["seconds"],
        "bytes": size_of(run.folder),
        "metrics": headline(run.result),
        "error": failed[0] if failed else record["error"],
    }


def _coloured(state: str) -> str:
    colour = {"succeeded": "green", "running": "cyan", "failed": "red"}.get(state, "yellow")
    return f"[{colour}]{state}[/]"
