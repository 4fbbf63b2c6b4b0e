"""`edgeline components`: what pipelines are composed of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from edgeline.cli.arguments import as_json

if TYPE_CHECKING:
    from rich.console import Console

    from edgeline.components.described import ComponentPort, Described


@click.command()
@click.argument("name", required=False)
@as_json
def components(name: str | None, as_json: bool) -> None:
    """List the components, or the inputs, parameters and outputs of component NAME."""
    from edgeline.components import catalogue
    from edgeline.components.described import described
    from edgeline.reports import terminal

    if name is not None:
        found = described(name)
        if as_json:
            print(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False))
        else:
            _show(terminal.console(), found)
        return
    every = [described(each) for each in catalogue.names()]
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in every], indent=1))
    else:
        _list(terminal.console(), every)


def _list(console: Console, every: list[Described]) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    table = Table(Column("component", no_wrap=True), "", box=None, header_style="bold")
    for each in every:
        table.add_row(each.name, escape(each.summary))
    console.print(table)
    console.print(
        "\n`edgeline components NAME` shows what one takes and gives; "
        "`edgeline pipelines` lists what is composed of them.",
        soft_wrap=True,
    )


def _show(console: Console, found: Described) -> None:
    from rich.markup import escape

    console.print(f"[bold]{found.name}[/]: {escape(found.description.strip())}")
    for title, ports in (
        ("artifact taken", found.inputs),
        ("parameter", found.parameters),
        ("output", found.outputs),
    ):
        if ports:
            console.print()
            console.print(_table(title, ports))
    if found.metrics:
        console.print()
        console.print(_metrics(found.metrics))
    console.print(f"\nIt runs in {found.image}.", soft_wrap=True, highlight=False)


def _table(title: str, ports: tuple[ComponentPort, ...]) -> object:
    from rich.markup import escape
    from rich.table import Column, Table

    from edgeline.cli.pipelines import shown

    parameters = not ports[0].artifact and title == "parameter"
    columns = [Column(each, no_wrap=True) for each in (title, "type")]
    table = Table(*columns, "default" if parameters else "holds", "", box=None, header_style="bold")
    for port in ports:
        default = "required" if port.required else shown(port.default)
        third = default if parameters else port.holds
        table.add_row(port.name, port.type, escape(third), escape(port.description))
    return table


def _metrics(metrics: Mapping[str, str]) -> object:
    from rich.table import Column, Table

    table = Table(Column("metric", no_wrap=True), "", box=None, header_style="bold")
    for name, about in metrics.items():
        table.add_row(name, about)
    return table
