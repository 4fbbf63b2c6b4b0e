"""`edgeline components`: what there is to compose pipelines from."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from edgeline import terminal
from edgeline.errors import EdgelineError


def show_components(name: str | None = None) -> None:
    """Print every component with its inputs and outputs, or one with its parameters too.

    Raises:
        EdgelineError: there is no component of that name.
    """
    from edgeline.pipelines import catalogue

    console = terminal.console()
    if name:
        console.print(_parameters(component(name)))
        return
    whole = [Column(title, no_wrap=True) for title in ("component", "takes", "gives")]
    table = Table(*whole, "", box=None, header_style="bold")
    for each in component_names():
        spec = component(each).component_spec
        takes = [key for key, value in (spec.inputs or {}).items() if _is_artifact(value)]
        gives = list(spec.outputs or {})
        table.add_row(each, "\n".join(takes), "\n".join(gives), _first_line(spec.description))
    console.print(table)
    console.print(f"\npipelines: {', '.join(catalogue.names())}")


def component_names() -> list[str]:
    """The components, by folder."""
    import edgeline.components

    folder = Path(edgeline.components.__path__[0])
    return sorted(face.parent.name for face in folder.glob("*/component.py"))


def component(name: str) -> Any:
    """The kfp component of a folder: the function with the folder's name.

    Raises:
        EdgelineError: there is no component of that name.
    """
    if name not in component_names():
        raise EdgelineError(
            f"There is no component {name!r}: there are {', '.join(component_names())}."
        )
    return getattr(importlib.import_module(f"edgeline.components.{name}.component"), name)


def _parameters(found: Any) -> Table:
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
