"""`edgeline components` and `edgeline pipelines`: what there is to run and to compose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    from rich.table import Table

    from edgeline.plugins import Plugin

LONGEST = 60  # characters of a default in a list


@click.command()
@click.argument("name", required=False)
def pipelines(name: str | None) -> None:
    """List the pipelines, edgeline's and other packages', or the parameters of pipeline NAME.

    NAME can also be a Python file with a variable `pipeline`, or a compiled .yaml file.
    """
    show_pipelines(name)


@click.command()
@click.argument("name", required=False)
def components(name: str | None) -> None:
    """List the components, or the inputs and outputs of component NAME."""
    show_components(name)


def show_components(name: str | None = None) -> None:
    """Print every component with its inputs and outputs, or one with its parameters too.

    Raises:
        UsageError: there is no component of that name.
    """
    from rich.table import Column, Table

    from edgeline.components import catalogue as components
    from edgeline.pipelines import catalogue as pipelines
    from edgeline.reports import terminal

    console = terminal.console()
    if name is not None:
        console.print(_inputs(components.load(name)))
        return
    whole = [Column(title, no_wrap=True) for title in ("component", "inputs", "outputs")]
    table = Table(*whole, "", box=None, header_style="bold")
    for each in components.names():
        spec = components.load(each).component_spec
        takes = [key for key, value in (spec.inputs or {}).items() if _is_artifact(value)]
        gives = list(spec.outputs or {})
        table.add_row(each, "\n".join(takes), "\n".join(gives), _first_line(spec.description))
    console.print(table)
    names = [*pipelines.names(), *pipelines.outside()]
    console.print(f"\nPipelines: {', '.join(names)} (see `edgeline pipelines`)")


def show_pipelines(name: str | None = None) -> None:
    """Print every pipeline with its description, or one with its parameters.

    Args:
        name: as `edgeline.pipelines.catalogue.load` takes it.

    Raises:
        UsageError: there is no such pipeline.
    """
    from rich.markup import escape
    from rich.table import Column, Table

    from edgeline.pipelines import catalogue
    from edgeline.reports import terminal

    console = terminal.console()
    if name is None:
        table = Table(Column("pipeline", no_wrap=True), "", box=None, header_style="bold")
        for each in catalogue.names():
            table.add_row(each, escape(_about(catalogue.load(each))))
        for each, plugin in catalogue.outside().items():
            table.add_row(each, escape(_about_outside(plugin)))
        console.print(table)
        for sentence in catalogue.refused().values():
            console.print(f"\n{escape(sentence)}", soft_wrap=True)
        console.print("\n`edgeline pipelines NAME` lists the parameters of one.")
        return
    console.print(f"[bold]{escape(name)}[/]: {escape(_about(catalogue.load(name)))}\n")
    columns = [Column(title, no_wrap=True) for title in ("parameter", "type")]
    table = Table(*columns, "default", "", box=None, header_style="bold")
    for parameter, kind, default, description in parameter_table(name):
        table.add_row(parameter, kind, escape(default), escape(description))
    console.print(table)
    console.print(f"\n{escape(_objects(name))}".rstrip(), soft_wrap=True)


def parameter_rows(pipeline: str) -> list[tuple[str, str]]:
    """A pipeline's parameters for a list of options: name, and type, default and description.

    Raises:
        UsageError: there is no such pipeline.
    """
    return [
        (name, f"{kind}, {default if default == 'required' else f'default {default}'}. {about}")
        for name, kind, default, about in parameter_table(pipeline)
    ]


def parameter_table(pipeline: str) -> Sequence[tuple[str, str, str, str]]:
    """Name, type, default (or "required") and description of each parameter."""
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameter import TYPES
    from edgeline.pipelines.parameters import parameters_of

    rows = []
    for each in parameters_of(catalogue.load(pipeline)).values():
        if not each.fields:
            default = "required" if each.required else _default(each.default)
            rows.append((each.called, each.type, default, each.description))
        for name, field in each.fields.items():
            own = (each.default or {}).get(name)
            default = "required" if name in each.needed and not own else _default(own)
            kind = TYPES[field.kind][0]
            rows.append((f"{each.called}.{name}", kind, default, field.description))
    return rows


def _default(value: Any) -> str:
    if value is None:
        return "none"
    shown = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


def _objects(pipeline: str) -> str:
    """How the fields of objects are set; "" where the pipeline has none."""
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameters import parameters_of

    objects = [each for each in parameters_of(catalogue.load(pipeline)).values() if each.fields]
    if not objects:
        return ""
    last = objects[-1]
    field = next(iter(last.example))
    value = json.dumps(last.example[field])
    return (
        f"Set a field by its name (--set {field}={value}), with its object (--set {last.called}."
        f"{field}={value}), or several as JSON (--set {last.called}='{{\"{field}\": {value}}}'). "
        f"In KFP's form the objects are {', '.join(each.name for each in objects)}."
    )


def _about_outside(plugin: Plugin) -> str:
    """What another package's pipeline does, or why it cannot be loaded."""
    from edgeline.pipelines import catalogue

    try:
        about = _about(catalogue.load(plugin.name))
    except EdgelineError as error:
        return str(error)
    return f"{about} (of {plugin.distribution})".strip()


def _about(pipeline: Any) -> str:
    return _first_line(pipeline.pipeline_spec.pipeline_info.description)


def _inputs(found: Any) -> Table:
    from rich.table import Table

    spec = found.component_spec
    table = Table("input", "type", "default", box=None, header_style="bold", title=spec.name)
    for key, value in (spec.inputs or {}).items():
        table.add_row(key, value.type, "" if value.default is None else repr(value.default))
    for key, value in (spec.outputs or {}).items():
        table.add_row(f"→ {key}", value.type, "")
    return table


def _is_artifact(value: Any) -> bool:
    return "@" in value.type


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0] if text else ""
