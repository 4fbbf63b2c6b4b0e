"""`edgeline warm`: the processes that wait for the next run on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from edgeline.cli.told import Told, telling

if TYPE_CHECKING:
    from edgeline.local.warm.sets import KeptSet


@click.group(invoke_without_command=True)
@click.pass_context
def warm(context: click.Context) -> None:
    """Look at the warm processes, which wait for the next run: status, stop.

    They have imported TensorFlow and what else the tasks of `edgeline run` need, and stay for ten
    minutes after a run. EDGELINE_WARM_SECONDS is another time; with 0 they end with their run.
    """
    if context.invoked_subcommand is None:
        context.invoke(status)


@warm.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool = False) -> None:
    """Show the sets of warm processes of this user: whether runs use them, and their memory."""
    from rich.markup import escape
    from rich.table import Column, Table

    from edgeline.local.warm.for_run import is_supported
    from edgeline.reports import terminal
    from edgeline.reports.report import size

    found = []
    if is_supported():
        from edgeline.local.warm import sets

        found = sets.kept()
    if as_json:
        print(json.dumps([_told(one) for one in found], indent=1))
        return
    console = terminal.console()
    if not found:
        console.print("No warm processes wait: `edgeline run` starts some.")
        return
    table = Table(
        Column("process", justify="right"),
        *("edgeline", "imported", "used by", "ends in"),
        Column("memory", justify="right", no_wrap=True),
        Column("python", overflow="fold"),
        box=None,
        header_style="bold",
    )
    for one in found:
        table.add_row(
            *(str(one.process), one.edgeline, _imported(one), _runs(one.runs)),
            "" if one.ends_in is None else f"{int(one.ends_in // 60)}:{int(one.ends_in % 60):02}",
            *(size(one.memory), escape(one.python)),
        )
    console.print(table)


@warm.command()
@telling
def stop(told: Told) -> None:
    """End the warm processes of this user; those that a run uses end with it."""
    from edgeline.local.warm.for_run import is_supported
    from edgeline.reports.report import size

    if not is_supported():
        told("No warm processes wait.", stopped=[], used=[])
        return
    from edgeline.local.warm import sets

    memory = {one.name: one.memory for one in sets.kept()}
    ended, used = sets.stop()
    for one in ended:
        told(f"Stopped process {one.process} ({size(memory.get(one.name, 0))}).")
    for one in used:
        their = "it" if one.runs == 1 else "them"
        told(f"Process {one.process} is used by {_runs(one.runs)}: it ends with {their}.")
    if not (ended or used):
        told("No warm processes wait.")
    told("", stopped=[one.process for one in ended], used=[one.process for one in used])


def _told(one: KeptSet) -> dict[str, Any]:
    names = ("process", "python", "edgeline", "started", "runs", "ends_in", "stages", "memory")
    return {name: getattr(one, name) for name in names}


def _imported(one: KeptSet) -> str:
    return ", ".join(name if done else f"{name} …" for name, done in one.stages.items())


def _runs(number: int) -> str:
    return "" if not number else "1 run" if number == 1 else f"{number} runs"
