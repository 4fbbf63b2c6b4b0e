"""`edgeline check`: where will each operator of this model run?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgeline import artifacts
from edgeline.cli.arguments import existing, finite, new_file
from edgeline.errors import UsageError


@click.command()
@click.argument("model", callback=existing)
@click.option("--target", default="edgetpu", show_default=True, help="The device to check for.")
@click.option(
    "--compiled", callback=existing, help="The output of the target's compiler, to compare."
)
@click.option(
    "--require-mapped",
    type=click.FloatRange(0, 1),
    callback=finite,
    help="Fail if a smaller share of the operators runs on the accelerator.",
)
@click.option("--report", callback=new_file, help="Write the findings as an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    model: str,
    target: str,
    compiled: str | None,
    require_mapped: float | None,
    report: str | None,
    as_json: bool,
) -> None:
    """Predict which operators of MODEL, a .tflite file, run on a target, without its compiler."""
    from edgeline.components.check import report as page
    from edgeline.components.check.check import check as work
    from edgeline.components.check.check import require
    from edgeline.components.check.console import print_placement
    from edgeline.reports import terminal

    if Path(model).is_dir() and not artifacts.schema_of(model):
        raise UsageError(f"{model} is neither a .tflite file nor an edge_model/v1 folder.")
    placement = work(model, target, compiled or "")
    if report:
        Path(report).parent.mkdir(parents=True, exist_ok=True)
        page.write(report, placement)
    if as_json:
        print(json.dumps(placement.to_json(), indent=1))
    else:
        print_placement(terminal.console(), placement)
    require(placement, require_mapped or 0.0)
