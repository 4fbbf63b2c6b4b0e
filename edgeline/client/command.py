"""`edgeline submit`."""

from __future__ import annotations

import os

import click

from edgeline.client.client import Client
from edgeline.errors import EdgelineError


def submit_command(
    pipeline: str,
    host: str | None,
    wait: bool,
    namespace: str | None,
    environment: str,
    experiment: str,
    name: str,
    settings: tuple[str, ...],
) -> None:
    """Start a run on a KFP server and print its identifier; with `wait` show it to its end.

    Raises:
        EdgelineError: no server is named or it refuses, or the run that was waited for failed.
        click.UsageError: a setting is wrong.
    """
    from edgeline.cli import parse_settings
    from edgeline.local.command import parameter_kinds
    from edgeline.pipelines import catalogue

    host = host or os.environ.get("KF_PIPELINES_ENDPOINT")
    if not host:
        raise EdgelineError("Which server? Give --host, or set KF_PIPELINES_ENDPOINT.")
    known = catalogue.load(pipeline).pipeline_spec.root.input_definitions.parameters
    parameters = parse_settings(settings, parameter_kinds(known))
    run = Client(host, namespace).submit(
        pipeline, environment=environment, experiment=experiment, name=name, **parameters
    )
    click.echo(run.id)
    if wait:
        run.wait()
