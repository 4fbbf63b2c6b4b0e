"""`edgeline compile-model`."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import click

from edgeline.cli.arguments import as_json, existing, new_folder
from edgeline.formats.quantisation import CONVERTED, RECIPES


class CompileModelCommand(click.Command):
    """A command whose `--help` ends with the targets; none of them is imported for it."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from edgeline.components.compile import target

        super().format_epilog(ctx, formatter)
        outside = target.outside()
        names = [f"{name} (of {plugin.distribution})" for name, plugin in outside.items()]
        with formatter.section("Targets"):
            margin = " " * formatter.current_indent
            for text in (", ".join([*target.MODULES, *names]), *target.refused().values()):
                lines = textwrap.fill(  # write_text would break a name at its hyphen
                    text, formatter.width, initial_indent=margin, subsequent_indent=margin,
                    break_on_hyphens=False, break_long_words=False,
                )  # fmt: skip
                formatter.write(lines + "\n")


@click.command("compile-model", cls=CompileModelCommand)
@click.argument("model", callback=existing)
@click.option("--target", "targets", multiple=True, required=True, help="A target. Repeatable.")
@click.option(
    "--quantisation",
    default="",
    metavar="NAME",
    help=f"{', '.join(row.name for row in CONVERTED)}; for litert also a recipe: "
    f"{', '.join(row.name for row in RECIPES)}. By default the best for each target.",
)
@click.option(
    "--representative",
    default="",
    callback=existing,
    help="Calibration data: .npz, .npy, examples or image folder.",
)
@click.option(
    "--scaling", default="", help="0..1 or -1..1: add scaling from pixel values 0 to 255."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TARGET.OPTION=VALUE",
    help="Set an option of a target. Repeatable.",
)
@click.option(
    "--requirements",
    default="",
    callback=existing,
    metavar="FILE",
    help="A requirements.yaml: a target that misses what its compiler tells has failed.",
)
@click.option(
    "-o",
    "--output",
    default="",
    callback=new_folder,
    help="The folder to write; by default MODEL-compiled.",
)
@as_json
def compile_model(as_json: bool, **request: Any) -> None:
    """Convert and compile MODEL for one or more targets, and report the result for each.

    MODEL is a SavedModel folder, a .keras, .h5, .tflite or .onnx file, or a folder that train,
    convert or import_model wrote.
    """
    from edgeline.local.compile_model import compile_model as work
    from edgeline.local.compile_request import Request

    sys.exit(work(Request(**request), as_json))
