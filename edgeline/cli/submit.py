"""`edgeline submit`."""

from __future__ import annotations

import os

import click

from edgeline.client.client import Client
from edgeline.errors import UsageError


def submit_command(
    pipeline: str,
    host: str | None,
    wait: bool,
    namespace: str | None,
    environment: str,
    experiment: str,
    name: str,
    shared: bool,
    settings: tuple[str, ...],
) -> None:
    """Start a run on a KFP server and print its identifier; with `wait` show it to its end.

    Raises:
        EdgelineError: it refuses, or the run that was waited for failed.
        UsageError: no server is named, or a setting or the environment is wrong.
    """
    from edgeline.environments.environment import load
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameters import parameters_of, parse

    host = host or os.environ.get("KF_PIPELINES_ENDPOINT")
    if not host:
        raise UsageError("Which server? Give --host, or set KF_PIPELINES_ENDPOINT.")
    parameters = parse(settings, parameters_of(catalogue.load(pipeline)))
    if environment:
        load(environment)  # before a server is asked
    run = Client(host, namespace).submit(
        pipeline,
        environment=environment,
        experiment=experiment,
        name=name,
        shared=shared,
        **parameters,
    )
    click.echo(run.id)
    if wait:
        run.wait()
