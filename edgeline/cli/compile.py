"""`edgeline compile`."""

from __future__ import annotations

import click

from edgeline.cli.arguments import new_path, setting
from edgeline.cli.pipelines import PipelineCommand
from edgeline.cli.told import Told, telling
from edgeline.environments import NAMES


@click.command("compile", cls=PipelineCommand)
@click.argument("pipeline")
@click.option(
    "-o", "--output", callback=new_path, help="The file to write; by default <pipeline>.yaml."
)
@click.option("--kubernetes", is_flag=True, help="Write Pipeline and PipelineVersion manifests.")
@click.option("--namespace", help="For --kubernetes; by default the environment's, or kubeflow.")
@click.option(
    "--env",
    "environment",
    metavar="NAME",
    help=f"The environment to compile for: {', '.join(NAMES)}, or a file.",
)
@click.option(
    "--current",
    callback=new_path,
    metavar="FILE",
    help="With --kubernetes: name the version in FILE (versions.yaml beside schedules.yaml), which "
    "schedules with `version: current` read.",
)
@setting
@telling
def compile_(
    told: Told,
    pipeline: str,
    output: str | None,
    kubernetes: bool,
    namespace: str | None,
    environment: str | None,
    current: str | None,
    settings: tuple[str, ...],
) -> None:
    """Compile PIPELINE to KFP's YAML or to Kubernetes manifests.

    --set changes the defaults of its parameters.
    """
    from edgeline.client.compiling import compile_pipeline, unpinned
    from edgeline.lint.fitting import documents_of, too_large

    path = compile_pipeline(
        pipeline, output, kubernetes, namespace, settings, environment or "", current=current
    )
    told(str(path), file=str(path))
    if tags := unpinned(path):
        click.echo(
            f"Warning: {', '.join(tags)} without a digest may be another image tomorrow: push the "
            "images, run `edgeline images lock`, and compile again.",
            err=True,
        )
    if (documents := documents_of(path)) and (found := too_large(documents, {})):
        click.echo(f"Warning: with its defaults, {found}", err=True)
