"""`edgeline init`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option("--example", metavar="EXAMPLE", help="Make this example instead of the starter.")
@click.option("--data", metavar="DATA", help="Make a project for these data, with --label.")
@click.option("--label", metavar="COLUMN", help="Which column of --data to predict.")
def init(name: str, example: str | None, data: str | None, label: str | None) -> None:
    """Create a project in the new folder NAME: a pipeline, a module and data.

    With --data and --label, the module takes the columns of these data, and the pipeline has
    proposals of thresholds that fit the label.

    Examples: wine (a table and a module), pictures (a .tflite model, a Keras model and images),
    schedules (a file of recurring runs).
    """
    from edgeline.errors import UsageError
    from edgeline.starter import make_example, make_project, make_project_of

    folder = Path(os.path.normpath(name))  # "a/../b" makes no folder "a"
    if (data is None) != (label is None) or (data and example):
        raise UsageError("Give --data and --label together, and without --example.")
    if data and label:
        for sentence in make_project_of(folder, data, label):
            click.echo(sentence)
        place = shlex.quote(str(folder))
        click.echo(f"Created {folder}. Next: cd {place} && edgeline run pipeline.py")
    elif example:
        make_example(folder, example)
        click.echo(f"Created {folder}.")
    else:
        make_project(folder)
        place = shlex.quote(str(folder))
        click.echo(f"Created {folder}. Next: cd {place} && edgeline run pipeline.py")
