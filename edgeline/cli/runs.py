"""`edgeline runs`: what ran on this machine, with what, and how runs compare."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgeline.cli.arguments import as_json, new_file
from edgeline.cli.run import LATEST, print_candidates, print_requirements, root_of_runs
from edgeline.cli.run_folders import logs, open_, prune, tensorboard
from edgeline.cli.run_names import check_host, finding, host_of_runs, namespace_of_runs
from edgeline.cli.run_telling import register, track
from edgeline.errors import UsageError

if TYPE_CHECKING:
    from edgeline.local.runs import KeptRun

SHOWN = 20  # rows of a table in a terminal


@click.group(invoke_without_command=True)
@click.pass_context
@root_of_runs
@host_of_runs
@namespace_of_runs
@as_json
def runs(context: click.Context, /, **options: Any) -> None:
    """Look at runs, of this machine or of a KFP server: list, show, compare, open, logs,
    track, register, tensorboard, prune. Without any of these: list.

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


for _command in (open_, logs, track, register, tensorboard, prune):
    runs.add_command(_command)


@runs.command("list")
@root_of_runs
@host_of_runs
@namespace_of_runs
@as_json
def list_(root: str, host: str | None, namespace: str | None, as_json: bool) -> None:
    """List the runs, the latest first; of a server the latest 50."""
    check_host(host, namespace)
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

    with finding(root, host, namespace) as named:
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
        named = stack.enter_context(finding(root, host, namespace))
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


def _published(name: str, stack: contextlib.ExitStack) -> KeptRun | None:
    """A bundle as a run; None where a name is not a bundle's."""
    from edgeline.local.published import is_bundle, of_bundle
    from edgeline.stores.store import local_copy

    if not is_bundle(name):
        return None
    return of_bundle(name, stack.enter_context(local_copy(name)))


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
