"""`edgeline init`."""

from __future__ import annotations

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

    if example:
        make_example(Path(name), example)
        click.echo(f"Created {name}.")
    else:
        make_project(Path(name))
        click.echo(f"Created {name}. Next: cd {name} && edgeline run pipeline.py")
