"""`edgeline check`: where will each operator of this model run?"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeline.cli.arguments import existing, finite, new_file
from edgeline.errors import EdgelineError, UsageError

if TYPE_CHECKING:
    from edgeline.components.check.console import Refusal
    from edgeline.components.check.placement import Placement


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, callback=existing)
@click.option(
    "--target",
    default="edgetpu",
    show_default=True,
    help="The device to check for: edgetpu or mobile-gpu.",
)
@click.option(
    "--compiled", callback=existing, help="The output of the target's compiler, to compare."
)
@click.option(
    "-a",
    "--multiple-subgraphs",
    is_flag=True,
    help="As the Edge TPU's compiler places it with -a: every part that maps, not the first.",
)
@click.option(
    "--require-mapped",
    type=click.FloatRange(0, 1),
    callback=finite,
    help="Fail if a smaller share of the operators runs on the accelerator.",
)
@click.option("--report", callback=new_file, help="Write the findings as an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; of several models a list.")
def check(
    models: tuple[str, ...],
    target: str,
    compiled: str | None,
    multiple_subgraphs: bool,
    require_mapped: float | None,
    report: str | None,
    as_json: bool,
) -> None:
    """Predict which operators of each MODEL run on a target, without its compiler.

    MODEL is a .tflite file, a folder of them, or what import_model takes: https://…,
    hf://owner/repository@revision/file, kaggle://owner/model/framework/variation/version,
    s3://…, gs://….
    """
    from edgeline.components.check import report as page
    from edgeline.components.check.check import possible, require
    from edgeline.components.check.console import Refusal, print_overview, print_placement
    from edgeline.components.check.placement import Placement
    from edgeline.reports import terminal

    possible(target, compiled or "", multiple_subgraphs)
    found = _checked(models, target, compiled or "", multiple_subgraphs)
    if len(found) > 1 and (compiled or report):
        raise UsageError(
            f"--compiled and --report are for one model, and here are {len(found)}: check that "
            "one by itself."
        )
    placements = [each for each in found if isinstance(each, Placement)]
    refusals = [each for each in found if isinstance(each, Refusal)]
    if report:
        Path(report).parent.mkdir(parents=True, exist_ok=True)
        page.write(report, placements[0])
    if as_json:
        documents = [placement.to_json() for placement in placements]
        print(json.dumps(documents if len(found) > 1 else documents[0], indent=1))
    elif len(found) > 1:
        print_overview(terminal.console(), found)
    else:
        print_placement(terminal.console(), placements[0])
    if refusals:
        raise EdgelineError(
            f"{len(refusals)} of {len(found)} models cannot be checked: {refusals[0].sentence}"
        )
    for placement in placements:
        require(placement, require_mapped or 0.0)


def _checked(
    references: tuple[str, ...], target: str, compiled: str, multiple_subgraphs: bool
) -> list[Placement | Refusal]:
    """What is found of each model; of one by itself a refusal is raised."""
    from edgeline.components.check.check import check as work
    from edgeline.components.check.console import Refusal
    from edgeline.components.check.references import models as models_of

    found: list[Placement | Refusal] = []
    errors = []
    for reference in references:
        with tempfile.TemporaryDirectory() as folder:
            try:
                files = models_of(reference, Path(folder))
            except EdgelineError as error:
                found.append(Refusal(reference, str(error)))
                errors.append(error)
                continue
            for name, path in files.items():
                try:
                    placement = work(path, target, compiled, multiple_subgraphs)
                    found.append(replace(placement, model=name))
                except EdgelineError as error:
                    found.append(Refusal(name, str(error).replace(str(path), name)))
                    errors.append(error)
    if len(found) == 1 and errors:
        only = found[0]
        assert isinstance(only, Refusal)
        raise type(errors[0])(only.sentence)
    return found
