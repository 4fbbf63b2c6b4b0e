"""`python -m edgeline.docs`: the README of each component, written from its face."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgeline.components import catalogue
from edgeline.components.compile import target
from edgeline.components.compile.compile import FORMS
from edgeline.components.described import ComponentPort, described
from edgeline.components.validate import constraints
from edgeline.formats import quantisation

LIST = re.compile(r"(?<=<!-- targets -->\n).*?(?=<!-- /targets -->)", re.DOTALL)
STATUS = "PipelineTaskFinalStatus"  # KFP fills it in, for the task of an exit handler


def main() -> None:
    """Write components/<name>/README.md for every component, and README.md's list of targets."""
    for path, text in drifted().items():
        path.write_text(text)
        print(f"wrote {path}")


def drifted() -> dict[Path, str]:
    """The READMEs that are missing or differ from faces and tables, and what they should be."""
    import edgeline.components

    folder = Path(edgeline.components.__path__[0])
    wanted = {folder / name / "README.md": readme(name) for name in catalogue.names()}
    if (whole := folder.resolve().parent / "README.md").is_file():
        wanted[whole] = LIST.sub(lambda _: _listed_targets(), whole.read_text())
    return {
        path: text
        for path, text in wanted.items()
        if not path.is_file() or path.read_text() != text
    }


def readme(name: str) -> str:
    """The README of a component in Markdown: what it takes and gives, and how to use it.

    Raises:
        EdgelineError: there is no component of that name.
    """
    found = described(name)
    repository = re.split(r"@|:(?=[^/]*$)", found.image)[0]
    return "\n\n".join(
        [
            "<!-- Written by `python -m edgeline.docs` from component.py: edit its docstring. -->",
            f"# {name}",
            *_paragraphs(found.description),
            f"[Face](component.py) · runs in `{repository}` "
            "([digest](../../images/images.lock.yaml))",
            *_section(
                "Inputs",
                ["artifact", "type", "holds", "description"],
                map(_artifact, found.inputs),
            ),
            *_section(
                "Parameters",
                ["parameter", "type", "default", "description"],
                (
                    [f"`{each.name}`", each.type, _default(each), _cell(each.description)]
                    for each in found.parameters
                ),
            ),
            *_section(
                "Outputs",
                ["output", "type", "holds", "description"],
                map(_artifact, found.outputs),
            ),
            *_section(
                "Metrics",
                ["metric", "meaning"],
                ([f"`{metric}`", _cell(about)] for metric, about in found.metrics.items()),
            ),
            *(_section(*TABLES[name]()) if name in TABLES else ()),
            *(_section(*_options()) if name == "compile" else ()),
            "## Example",
            f"{_place(found.inputs)}:",
            f"```python\n{example(name)}```\n",
        ]
    )


def example(name: str) -> str:
    """Lines of a pipeline that use a component.

    Artifacts come from the task `<component>_task` of the component that has an output of
    that name; required parameters are variables of their own names.

    Raises:
        EdgelineError: there is no component of that name.
    """
    spec = catalogue.load(name).component_spec
    inputs, outputs = spec.inputs or {}, spec.outputs or {}
    producers = _producers()
    given = {
        key: f'{producers[key]}_task.outputs["{key}"]' if key in producers else key
        for key, value in inputs.items()
        if not value.optional
    }
    arguments = "".join(f"    {key}={value},\n" for key, value in given.items())
    call = f"{name}(\n{arguments})" if given else f"{name}()"
    lines = [
        f"from edgeline.components.{name}.component import {name}",
        "",
        f"{name}_task = {call}",
    ]
    if any(value.type == STATUS for value in inputs.values()):
        lines.insert(0, "from kfp import dsl\n")
        lines += [f"with dsl.ExitHandler({name}_task):", "    ...  # the tasks to wait for"]
    for key, value in outputs.items():
        if value.type == "Boolean":
            if lines[0] != "from kfp import dsl\n":
                lines.insert(0, "from kfp import dsl\n")
            lines += [
                f'with dsl.If({name}_task.outputs["{key}"] == True):',
                "    ...  # the tasks that need it",
            ]
    return "\n".join(lines) + "\n"


def _targets() -> tuple[str, list[str], list[list[str]]]:
    """The table of targets for compile's README."""
    rows = []
    for row in target.TABLE:
        found = target.find(row.name)
        rows.append(
            [
                f"`{row.name}`",
                found.summary,
                " or ".join(FORMS[form] for form in found.takes),
                ", ".join(each.name for each in found.quantisations),
                f"`{row.extra}`" if row.extra else "",
                found.limits,
            ]
        )
    header = ["target", "for", "takes", "quantisations, best first", "extra", "not proven"]
    return "Targets", header, rows


def _options() -> tuple[str, list[str], list[list[str]]]:
    """The table of the targets' options for compile's README."""
    rows = [
        [
            f"`{row.name}`",
            f"`{option.name}`",
            ", ".join(f"`{value}`" for value in option.choices if value),
            f"`{option.default}`" if option.default else "",
            _cell(option.help),
        ]
        for row in target.TABLE
        for option in target.find(row.name).options
    ]
    return "Options of targets", ["target", "option", "values", "default", "description"], rows


def _quantisations() -> tuple[str, list[str], list[list[str]]]:
    """The table of quantisations for convert's README."""
    rows = [
        [
            f"`{row.name}`",
            row.about,
            row.maker,
            " and ".join(filter(None, ["the model", row.needs])),
            ", ".join(row.io),
        ]
        for row in quantisation.TABLE
    ]
    return "Quantisations", ["quantisation", "what it is", "made by", "takes", "io"], rows


def _constraints() -> tuple[str, list[str], list[list[str]]]:
    """What validate does with each field of a schema, for its README."""
    fields: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(
        constraints.CHECKED | constraints.DESCRIPTIVE | constraints.UNCHECKED.keys()
    ):
        message, _, field = name.partition(".")
        why = constraints.UNCHECKED.get(name, "")
        text = f"`{field}`: {why}" if why else f"`{field}`"
        which = "described" if name in constraints.DESCRIPTIVE else "not" if why else "checked"
        fields.setdefault(message, []).append((which, text))
    rows = []
    for message, told in fields.items():
        cells = {which: [text for each, text in told if each == which] for which, _ in told}
        rows.append(
            [
                f"`{message}`",
                ", ".join(cells.get("checked", [])),
                "; ".join(cells.get("not", [])),
                ", ".join(cells.get("described", [])),
            ]
        )
    return "The fields of a schema", ["message", "checked", "not checked", "forbids nothing"], rows


TABLES = {"compile": _targets, "convert": _quantisations, "validate": _constraints}


def _listed_targets() -> str:
    """README.md's list of targets, in lines of at most 100 characters."""
    *most, last = [f"`{row.name}`" for row in target.TABLE]
    text = (
        f"Targets: {', '.join(most)} and {last} "
        "([what each takes](components/compile/README.md#targets))."
    )
    return textwrap.fill(text, 100, break_on_hyphens=False, break_long_words=False) + "\n"


def _place(inputs: Iterable[ComponentPort]) -> str:
    """Where in a pipeline the example stands."""
    producers = _producers()
    before = sorted({f"`{producers[each.name]}`" for each in inputs if each.name in producers})
    *most, last = before or [""]
    if most:
        last = f"{', '.join(most)} and {last}"
    return f"In a pipeline, after {last}" if before else "In a pipeline"


def _producers() -> dict[str, str]:
    """Output artifact -> the component that makes it."""
    return {
        key: name
        for name in sorted(catalogue.names(), key=lambda name: name != "choose")  # which copies
        for key, value in (catalogue.load(name).component_spec.outputs or {}).items()
        if _is_artifact(value)
    }


def _section(title: str, header: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """A heading and a table whose columns line up in the source too; nothing without rows."""
    cells = [header, *rows]
    if len(cells) == 1:
        return
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    yield f"## {title}"
    yield "\n".join(lines)


def _artifact(port: ComponentPort) -> list[str]:
    """The cells artifact, type, holds and description."""
    holds = f"`{port.holds}`" if port.holds else ""
    return [f"`{port.name}`", port.type, holds, _cell(port.description)]


def _is_artifact(value: Any) -> bool:
    return "@" in value.type


def _default(port: ComponentPort) -> str:
    if port.required:
        return "**required**"
    return "" if port.default is None else f"`{port.default!r}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return _escape(" ".join(text.split())).replace("|", "\\|")


def _paragraphs(text: str) -> list[str]:
    """kfp's description: the first line, then the rest of the docstring."""
    first, _, rest = text.partition("\n")
    return [_escape(part) for part in (first, rest.strip()) if part]


def _escape(text: str) -> str:
    """Text without signs that Markdown takes for markup; `code` stays as it is."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([<*])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


if __name__ == "__main__":
    main()
