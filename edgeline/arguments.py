"""What the arguments of several commands have in common."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


def existing(_: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: each path exists; an address such as s3://bucket/models is asked for later."""
    for each in value if isinstance(value, tuple) else (value,):
        try:
            path = (each or "").partition("#sha256=")[0]  # a pin, where locations may have one
            missing = each is not None and "://" not in path and not Path(path).exists()
        except (OSError, ValueError):  # too long for a name, or a NUL
            missing = True
        if missing:
            raise click.BadParameter(f"{each!r} does not exist.", param=parameter)
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
            from edgeline.listing import parameter_rows

            with formatter.section(f"Parameters of {name} (--set NAME=VALUE)"):
                formatter.write_dl(parameter_rows(name))
