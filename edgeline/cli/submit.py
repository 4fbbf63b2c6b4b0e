"""`edgeline submit`."""

from __future__ import annotations

import sys

import click

from edgeline.cli.arguments import setting
from edgeline.cli.pipelines import PipelineCommand
from edgeline.cli.told import Told, telling


@click.command(cls=PipelineCommand)
@click.argument("pipeline")
@click.option("--host", help="The KFP API's URL; by default KF_PIPELINES_ENDPOINT.")
@click.option(
    "--namespace",
    help="The profile's namespace, on a multi-user KFP; by default the environment's.",
)
@click.option(
    "--env", "environment", default="", metavar="NAME", help="The environment to compile for."
)
@click.option("--experiment", default="Default", show_default=True, help="The run's experiment.")
@click.option("--name", default="", help="The run's name; by default the pipeline's and the time.")
@click.option("--shared", is_flag=True, help="Upload to the pipeline that all teams share.")
@click.option("--wait", is_flag=True, help="Show progress until the run has ended.")
@setting
@telling
def submit(
    told: Told,
    pipeline: str,
    host: str | None,
    namespace: str | None,
    environment: str,
    experiment: str,
    name: str,
    shared: bool,
    wait: bool,
    settings: tuple[str, ...],
) -> None:
    """Start a run of PIPELINE on a KFP server, after uploading it if this version is new.

    The run's identifier alone goes to stdout; progress and messages go to stderr.
    """
    from edgeline.client.client import Client
    from edgeline.environments.environment import load
    from edgeline.kubeflow import endpoint
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameters import parameters_of, parse
    from edgeline.preflight import before_a_run_there
    from edgeline.reports import terminal

    host = endpoint.chosen(host)
    definition = catalogue.load(pipeline)
    known = parameters_of(definition)
    parameters = parse(settings, known)
    # before a server is asked
    before_a_run_there(known, parameters)
    if environment:
        load(environment)
    client = Client(host, namespace, console=terminal.console(sys.stderr))
    run = client.submit(
        definition,
        parameters,
        environment=environment,
        experiment=experiment,
        name=name,
        shared=shared,
    )
    told(run.id, run=run.id)
    if wait:
        run.wait()
