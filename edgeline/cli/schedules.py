"""`edgeline schedules`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from edgeline.cli.arguments import existing
from edgeline.kubeflow.api import asking, connect

if TYPE_CHECKING:
    from edgeline.schedules.reconcile import Change

COLOURS = {"create": "green", "change": "yellow", "switch": "yellow", "delete": "red"}


def _server(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--host", help="The KFP API's URL; by default KF_PIPELINES_ENDPOINT.")(
        command
    )
    return click.option("--namespace", help="The profile's namespace, on a multi-user KFP.")(
        command
    )


@click.group()
def schedules() -> None:
    """Manage recurring runs from a file."""


@schedules.command()
@click.argument("file", callback=existing)
@_server
def diff(file: str, host: str | None, namespace: str | None) -> None:
    """Show the differences between FILE and the server; the exit code is 1 if there are any."""
    _, changes, _ = _changes(file, host, namespace)
    show(changes)
    sys.exit(1 if changes else 0)


@schedules.command()
@click.argument("file", callback=existing)
@_server
def apply(file: str, host: str | None, namespace: str | None) -> None:
    """Create and change recurring runs as in FILE; removed ones stay (see `prune`)."""
    client, changes, declared = _changes(file, host, namespace)
    # a second one of a declared schedule is a remnant, not something that was taken out
    _make(client, [change for change in changes if change.name in declared])


@schedules.command()
@click.argument("file", callback=existing)
@_server
def prune(file: str, host: str | None, namespace: str | None) -> None:
    """Delete recurring runs that were created from FILE and are no longer in it."""
    client, changes, declared = _changes(file, host, namespace)
    _make(client, [change for change in changes if change.name not in declared])


def show(changes: Sequence[Change]) -> None:
    """Print changes as a table: what is there, and what shall be."""
    if not changes:
        click.echo("Nothing differs.")
        return
    from rich.markup import escape
    from rich.table import Table

    from edgeline.reports import terminal
    from edgeline.schedules.reconcile import CHANGE, SWITCH

    table = Table("", "schedule", "field", "is", "shall be", box=None)
    for change in changes:
        colour = COLOURS[change.action]
        first = (f"[{colour}]{change.action}[/]", escape(change.name))
        fields = change.was if change.action in (CHANGE, SWITCH) else {}
        for field in sorted(fields):
            was, shall = (json.dumps(side.get(field)) for side in (change.was, change.shall))
            table.add_row(*first, field, escape(was), escape(shall))
            first = ("", "")
        if not fields:
            table.add_row(*first)
    terminal.console().print(table)


def _changes(
    file: str, host: str | None, namespace: str | None
) -> tuple[Any, list[Change], set[str]]:
    """A client, what differs, and the names that the file has."""
    from edgeline.schedules.declaration import read
    from edgeline.schedules.reconcile import differences, unpinned

    declared = read(file)
    client = connect(host, namespace)
    changes = asking(lambda: differences(client, declared))
    for sentence in asking(lambda: unpinned(client, declared)):
        click.echo(sentence, err=True)
    return client, changes, {schedule.name for schedule in declared.schedules}


def _make(client: Any, changes: list[Change]) -> None:
    from edgeline.schedules.reconcile import apply as work

    show(changes)
    asking(lambda: work(client, changes))
