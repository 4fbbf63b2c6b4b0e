"""`edgeline schedules`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeline.cli.arguments import as_json, existing
from edgeline.cli.told import Told, telling
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    from kfp import Client as KfpClient

    from edgeline.schedules.declaration import Declaration
    from edgeline.schedules.reconcile import Change, NotDeployedError

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
@click.option("--newer", is_flag=True, help="Count a newer version that waits as a difference.")
@_server
@as_json
def diff(file: str, newer: bool, host: str | None, namespace: str | None, as_json: bool) -> None:
    """Show the differences between FILE and the server.

    The exit code is 1 if there are any, and 2 if they cannot be told. Schedules on the server that
    name no version, and newer versions than FILE names, are named, too.
    """
    from edgeline.kubeflow.api import asking
    from edgeline.schedules import reconcile

    with _untold():
        client, declared = _connected(file, host, namespace)
        for sentence in asking(lambda: reconcile.unpinned(client, declared)):
            click.echo(sentence, err=True)
        not_there: list[reconcile.NotDeployedError] = []
        changes = asking(lambda: reconcile.differences(client, declared, not_there))
        waiting = asking(lambda: reconcile.newer(client, declared))
    if as_json:
        document = {
            "differences": [asdict(change) for change in changes],
            "newer": list(waiting),
            "not_deployed": [str(error) for error in not_there],
        }
        click.echo(json.dumps(document, indent=1, default=str))
    else:
        if changes or not not_there:
            show(changes)
        for sentence in waiting:
            click.echo(sentence)
    with _untold():
        _warn_of_size(client, declared)
        _tell(not_there)
    sys.exit(1 if changes or (newer and waiting) else 0)


@schedules.command()
@click.argument("file", callback=existing)
@click.option("--prune", is_flag=True, help="Delete what FILE created and no longer has, too.")
@_server
@telling
def apply(told: Told, file: str, prune: bool, host: str | None, namespace: str | None) -> None:
    """Create and change recurring runs as in FILE; removed ones stay without --prune.

    A schedule whose pipeline or version is not on the server stays as it is there; the others are
    applied, and the exit code is 1.
    """
    client, changes, declared, not_there = _changes(file, host, namespace)
    names = {schedule.name for schedule in declared.schedules}
    # a second one of a declared schedule is a remnant, not something that was taken out
    _make(told, client, [change for change in changes if prune or change.name in names])
    _warn_of_size(client, declared)
    _tell(not_there)


@schedules.command()
@click.argument("file", callback=existing)
@_server
@telling
def prune(told: Told, file: str, host: str | None, namespace: str | None) -> None:
    """Delete recurring runs that were created from FILE and are no longer in it."""
    client, changes, declared, _ = _changes(file, host, namespace)
    names = {schedule.name for schedule in declared.schedules}
    _make(told, client, [change for change in changes if change.name not in names])


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


class _UntoldError(EdgelineError):
    """`diff` cannot tell what differs; as of diff(1), 1 is the exit code of a difference."""

    exit_code = 2


@contextmanager
def _untold() -> Iterator[None]:
    try:
        yield
    except EdgelineError as error:
        raise _UntoldError(str(error)) from error


def _connected(file: str, host: str | None, namespace: str | None) -> tuple[Any, Declaration]:
    """A client, and what the file says, with a version's name for each `from`."""
    from edgeline.client.pinning import pinned
    from edgeline.kubeflow.api import connect
    from edgeline.schedules.declaration import read

    declared = pinned(read(file), Path(file).parent)
    return connect(host, namespace), declared


def _changes(
    file: str, host: str | None, namespace: str | None
) -> tuple[Any, list[Change], Declaration, list[NotDeployedError]]:
    """A client, what differs, what the file says, and what cannot be run yet."""
    from edgeline.kubeflow.api import asking
    from edgeline.schedules.reconcile import differences

    client, declared = _connected(file, host, namespace)
    not_there: list[NotDeployedError] = []
    changes = asking(lambda: differences(client, declared, not_there))
    return client, changes, declared, not_there


def _warn_of_size(client: KfpClient, declared: Declaration) -> None:
    from edgeline.client.sizes import of_schedules
    from edgeline.kubeflow.api import asking

    for sentence in asking(lambda: of_schedules(client, declared)):
        click.echo(f"Warning: {sentence}", err=True)


def _tell(not_there: Sequence[NotDeployedError]) -> None:
    """Refuse schedules that cannot be run yet, one after the other, as the others are done.

    Raises:
        EdgelineError: there is one.
    """
    if not_there:
        raise EdgelineError("\n".join(map(str, not_there)))


def _make(told: Told, client: KfpClient, changes: list[Change]) -> None:
    from edgeline.kubeflow.api import asking
    from edgeline.schedules.reconcile import apply as work

    if not told.as_json:
        show(changes)
    asking(lambda: work(client, changes))
    told("", changes=[asdict(change) for change in changes])
