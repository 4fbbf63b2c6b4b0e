"""`edgeline environments`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeline.cli.arguments import existing
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    from edgeline.environments.meant import DifferenceRow, Meant


@click.group()
def environments() -> None:
    """Compare the environments that pipelines run in."""


@environments.command()
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@click.argument("pipeline", required=False)
@click.option(
    "--meant",
    callback=existing,
    metavar="FILE",
    help="A list of differences that are meant: only others make the exit code 1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def diff(one: str, other: str, pipeline: str | None, meant: str | None, as_json: bool) -> None:
    """Show what differs between the same pipeline in the environments A and B, by meaning.

    A and B are environments by name or file, or folders of a team's repository, which hold
    environment.yaml, pipelines/versions/ and cluster/schedules.yaml. Without PIPELINE, all that is
    compiled in the folders is compared, with the schedules. What kustomize builds is not.

    The exit code is 1 if there is a difference that is not meant, or an entry of --meant that
    stands for none, and 2 if that cannot be told.
    """
    from edgeline.client.comparing import compare, side
    from edgeline.environments import meant as lists

    try:
        entries = lists.read(Path(meant)) if meant else ()
        compared = compare(side(one), side(other), pipeline)
    except EdgelineError as error:
        raise _NotComparedError(str(error)) from error
    rows = lists.rows(compared.found, compared.tasks, entries)
    # entries for other pipelines than the one that was asked for may well stand for something
    unused = lists.unused(compared.found, entries) if pipeline is None else []
    if as_json:
        click.echo(json.dumps(_as_json(one, other, rows, unused), indent=1))
    else:
        show(one, other, rows)
        for entry in unused:
            told = f"{meant}: {entry.what} ({entry.why}) stands for no difference: take it out."
            click.echo(told, err=True)
    sys.exit(1 if unused or any(not row.why for row in rows) else 0)


class _NotComparedError(EdgelineError):
    """`diff` cannot tell what differs; as of diff(1), 1 is the exit code of a difference."""

    exit_code = 2


def show(one: str, other: str, rows: Sequence[DifferenceRow]) -> None:
    """Print differences as a table: what differs, of what, and both values."""
    if not rows:
        click.echo("Nothing differs.")
        return
    from rich.markup import escape
    from rich.table import Table

    from edgeline.reports import terminal

    table = Table("what", "pipeline", "task", one, other, "meant", box=None)
    for column in table.columns:
        column.overflow = "fold"  # values are compared to their ends
    table.columns[0].no_wrap = True
    for row in rows:
        cells = (row.what, ", ".join(row.pipelines), _tasks(row), _text(row.one), _text(row.other))
        table.add_row(*map(escape, cells), escape(row.why) or "[red]no[/]")
    terminal.console().print(table)


def _tasks(row: DifferenceRow) -> str:
    if len(row.tasks) < 2 or len(row.others) > 3:
        return ", ".join(row.tasks)
    return f"all but {', '.join(row.others)}" if row.others else "all"


def _text(value: Any) -> str:
    """A value as people write it: texts without quotes, and - where there is none."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


def _as_json(
    one: str, other: str, rows: Sequence[DifferenceRow], unused: Sequence[Meant]
) -> dict[str, Any]:
    return {
        "between": [one, other],
        "differences": [
            {
                "what": row.what,
                "pipelines": row.pipelines,
                "tasks": row.tasks,
                "values": [row.one, row.other],
                "meant": row.why or None,
            }
            for row in rows
        ],
        "unused": [{"what": entry.what, "why": entry.why} for entry in unused],
    }
