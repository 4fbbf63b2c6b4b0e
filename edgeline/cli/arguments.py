"""What the arguments of several commands have in common."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

setting = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a pipeline parameter; VALUE is JSON, strings need no quotes. Repeatable.",
)


def existing(_: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: each path exists; an address such as s3://bucket/models is asked for later."""
    for each in value if isinstance(value, tuple) else (value,):
        try:
            path = (each or "").partition("#sha256=")[0]  # a pin, where locations may have one
            missing = each is not None and "://" not in path and not Path(path).exists()
            # Path("") is this folder; an empty option is one that is not given
            missing = missing or (each == "" and isinstance(parameter, click.Argument))
        except (OSError, ValueError):  # too long for a name, or a NUL
            missing = True
        if missing:
            raise click.BadParameter(f"{each!r} does not exist.", param=parameter)
    return value


def new_file(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: a file can be made there, and its folders; asked before any work is done."""
    if value and Path(value).is_dir():
        raise click.BadParameter(f"'{value}' is a folder: name a file.", param=parameter)
    return new_path(context, parameter, value)


def new_folder(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: there is a folder, or one can be made."""
    if value and Path(value).exists() and not Path(value).is_dir():
        raise click.BadParameter(f"'{value}' is a file: name a folder.", param=parameter)
    return new_path(context, parameter, value)


def new_path(_: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: a file or folder can be made there."""
    above = next((each for each in Path(value).parents if each.exists()), None) if value else None
    if above is not None and not above.is_dir():
        raise click.BadParameter(f"'{value}' cannot be made: '{above}' is a file.", param=parameter)
    return value


def finite(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A callback: click's ranges let NaN through."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.", param=parameter)
    return value


class PipelineCommand(click.Command):
    """A command whose first argument is a pipeline: with it, `--help` lists its parameters."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, *_ = self.make_parser(ctx).parse_args(list(args))
        ctx.meta["pipeline"] = given.get("pipeline")
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if isinstance(name := ctx.meta["pipeline"], str):
            from edgeline.cli.listing import parameter_rows

            with formatter.section(f"Parameters of {name} (--set NAME=VALUE)"):
                formatter.write_dl(parameter_rows(name))
