"""`edgeline pipelines`: what there is to run, and what can be set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from edgeline.cli.arguments import as_json
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    from edgeline.plugins import Plugin

LONGEST = 60  # characters of a default in a list


@dataclass(frozen=True)
class Listed:
    """What a pipeline takes: a parameter, or a field of one (`training.steps`).

    Attributes:
        type: `string`, `integer`, `number`, `boolean`, `list` or `object`.
        default: None where it is required, or where there is none.
    """

    name: str
    type: str
    required: bool
    default: Any
    description: str

    @property
    def default_text(self) -> str:
        """The default as JSON that fits into a table, or "required"."""
        return "required" if self.required else shown(self.default)


class PipelineCommand(click.Command):
    """A command whose first argument is a pipeline: with it, `--help` lists its parameters."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            given, *_ = self.make_parser(ctx).parse_args(list(args))
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            if not {*(error.possibilities or ())} - {"--set", "--help"}:
                said = f"{error.message.rstrip('.')}. A parameter of the pipeline is set so: --set"
                raise click.UsageError(f"{said} {name}=VALUE.", ctx) from None
            raise
        ctx.meta["pipeline"] = given.get("pipeline")
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if isinstance(name := ctx.meta["pipeline"], str):
            with formatter.section(f"Parameters of {name} (--set NAME=VALUE)"):
                formatter.write_dl(parameter_rows(name))


@click.command()
@click.argument("name", required=False)
@as_json
def pipelines(name: str | None, as_json: bool) -> None:
    """List the pipelines, edgeline's and other packages', or the parameters of pipeline NAME.

    NAME can also be a Python file with a variable `pipeline`, or a compiled .yaml file.
    """
    from edgeline.pipelines import catalogue

    if name is None:
        about = {each: (_about(catalogue.load(each)), "") for each in catalogue.names()}
        about |= {each: _about_outside(of) for each, of in catalogue.outside().items()}
        if as_json:
            print(json.dumps(_list_document(about), indent=1, ensure_ascii=False))
        else:
            _show_list(about)
        return
    summary, parameters = _about(catalogue.load(name)), listed(name)
    if as_json:
        document = {
            "name": name,
            "description": summary,
            "parameters": [asdict(each) for each in parameters],
        }
        print(json.dumps(document, indent=1, ensure_ascii=False))
    else:
        _show_parameters(name, summary, parameters)


def _list_document(about: Mapping[str, tuple[str, str]]) -> list[dict[str, str]]:
    from edgeline.pipelines import catalogue

    return [
        *(
            {"name": name, "description": text, "error": wrong}
            for name, (text, wrong) in about.items()
        ),
        *(
            {"name": name, "description": "", "error": sentence}
            for name, sentence in catalogue.refused().items()
        ),
    ]


def _show_list(about: Mapping[str, tuple[str, str]]) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    from edgeline.pipelines import catalogue
    from edgeline.reports import terminal

    console = terminal.console()
    table = Table(Column("pipeline", no_wrap=True), "", box=None, header_style="bold")
    for name, (text, wrong) in about.items():
        table.add_row(name, escape(wrong or text))
    console.print(table)
    for sentence in catalogue.refused().values():
        console.print(f"\n{escape(sentence)}", soft_wrap=True)
    console.print("\n`edgeline pipelines NAME` lists the parameters of one.")


def _show_parameters(name: str, summary: str, parameters: Sequence[Listed]) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    from edgeline.reports import terminal

    console = terminal.console()
    console.print(f"[bold]{escape(name)}[/]: {escape(summary)}\n")
    columns = [Column(title, no_wrap=True) for title in ("parameter", "type")]
    table = Table(*columns, "default", "", box=None, header_style="bold")
    for each in parameters:
        table.add_row(each.name, each.type, escape(each.default_text), escape(each.description))
    console.print(table)
    console.print(f"\n{escape(_objects(name))}".rstrip(), soft_wrap=True)


def parameter_rows(pipeline: str) -> list[tuple[str, str]]:
    """A pipeline's parameters for a list of options: name, and type, default and description.

    Raises:
        UsageError: there is no such pipeline.
    """
    return [
        (
            each.name,
            f"{each.type}, {'' if each.required else 'default '}{each.default_text}. "
            f"{each.description}",
        )
        for each in listed(pipeline)
    ]


def listed(pipeline: str) -> list[Listed]:
    """Every parameter of a pipeline, and instead of an object each of its fields.

    Args:
        pipeline: as `edgeline.pipelines.catalogue.load` takes it.

    Raises:
        UsageError: there is no such pipeline.
    """
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameter import TYPES
    from edgeline.pipelines.parameters import parameters_of

    found = []
    for each in parameters_of(catalogue.load(pipeline)).values():
        if not each.fields:
            default = None if each.required else each.default
            found.append(Listed(each.called, each.type, each.required, default, each.description))
        for name, field in each.fields.items():
            own = (each.default or {}).get(name)
            required = name in each.needed and not own
            found.append(
                Listed(
                    f"{each.called}.{name}",
                    TYPES[field.kind][0],
                    required,
                    None if required else own,
                    field.description,
                )
            )
    return found


def shown(value: Any) -> str:
    """A value as JSON, cut to what fits into a table; "none" for None."""
    if value is None:
        return "none"
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


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


def _about_outside(plugin: Plugin) -> tuple[str, str]:
    """What another package's pipeline does, and why it cannot be loaded."""
    from edgeline.pipelines import catalogue

    try:
        about = _about(catalogue.load(plugin.name))
    except EdgelineError as error:
        return "", str(error)
    return f"{about} (of {plugin.distribution})".strip(), ""


def _about(pipeline: Any) -> str:
    return _first_line(pipeline.pipeline_spec.pipeline_info.description)


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0] if text else ""
