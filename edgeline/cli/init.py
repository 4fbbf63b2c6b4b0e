"""`edgeline init`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option("--example", metavar="EXAMPLE", help="Make this example instead of the starter.")
def init(name: str, example: str | None) -> None:
    """Create a project in the new folder NAME: a pipeline, a module and data.

    Examples: wine (a table and a module), pictures (a .tflite model, a Keras model and images),
    schedules (a file of recurring runs).
    """
    from edgeline.starter import make_example, make_project

    folder = Path(os.path.normpath(name))  # "a/../b" makes no folder "a"
    if example:
        make_example(folder, example)
        click.echo(f"Created {folder}.")
    else:
        make_project(folder)
        place = shlex.quote(str(folder))
        click.echo(f"Created {folder}. Next: cd {place} && edgeline run pipeline.py")
