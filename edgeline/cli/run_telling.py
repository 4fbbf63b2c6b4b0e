"""`edgeline runs track|register`: runs told to MLflow, and what they published to Kubeflow."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edgeline.cli.run import RUNS, root_of_runs, tracker
from edgeline.cli.run_names import check_host, host_of_runs, named, namespace_of_runs
from edgeline.cli.told import Told, telling
from edgeline.errors import UsageError


@click.command()
@click.argument("run", required=False)
@tracker
@root_of_runs
@host_of_runs
@namespace_of_runs
@telling
def track(
    told: Told, run: str | None, track: str, root: str, host: str | None, namespace: str | None
) -> None:
    """Send RUN to an MLflow tracking server; by default all that a server does not have in full.

    RUN can be one that was not tracked when it ran. What the server has already is not sent again.
    With --host it is a run of a KFP server, whose tasks could not reach MLflow.
    """
    from edgeline.local import telling as sending

    check_host(host, namespace)
    if host:
        _track_there(told, run, track, root, host, namespace)
        return
    if run is None:
        count = sending.send_pending(Path(root), track, told)
        told(f"{count} run{'' if count == 1 else 's'} sent.", sent=count)
        return
    sending.send_one(named(root, run), track)
    told(sending.outcome(named(root, run).folder), sent=1)


@click.command()
@click.argument("run", required=False)
@root_of_runs
@host_of_runs
@namespace_of_runs
@telling
def register(
    told: Told, run: str | None, root: str, host: str | None, namespace: str | None
) -> None:
    """Register what RUN has published with Kubeflow's registry of models; by default all that it
    lacks.

    MODEL_REGISTRY_URL names it. RUN can be one that ran without it. What is registered already is
    not registered again. With --host it is a run of a KFP server, whose tasks could not reach it.
    """
    from edgeline.local import registering

    check_host(host, namespace)
    if host:
        _register_there(told, run, root, host, namespace)
    elif run is None:
        count = registering.register_pending(Path(root), told)
        told(f"{count} run{'' if count == 1 else 's'} registered.", registered=count)
    else:
        said = registering.register_one(named(root, run))
        told(said or f"Run {run} has published nothing.", registered=int(bool(said)))


def _register_there(
    told: Told, run: str | None, root: str, host: str, namespace: str | None
) -> None:
    from edgeline.client import there
    from edgeline.kubeflow.api import connect
    from edgeline.tracking.registry import URL, address

    place = address()
    if run is None or place is None:
        what = "the run of the server" if run is None else f"a registry in {URL}"
        raise UsageError(f"Name {what}.")
    found = there.register(connect(host, namespace), run, "" if root == RUNS else root, place)
    told(
        f"Registered of run {run}: {', '.join(found) or 'nothing, as it published nothing'}.",
        registered=len(found),
    )


def _track_there(
    told: Told, run: str | None, track: str, root: str, host: str, namespace: str | None
) -> None:
    from edgeline.client import there
    from edgeline.kubeflow.api import connect
    from edgeline.local import telling as sending
    from edgeline.local import tracking_state

    sending.check()
    place = track or os.environ.get(tracking_state.URI, "")
    if run is None or not place:
        what = (
            "the run of the server"
            if run is None
            else f"a tracker, --track URI or {tracking_state.URI}"
        )
        raise UsageError(f"Name {what}.")
    sent = there.track(connect(host, namespace), run, "" if root == RUNS else root, place)
    told(f"Sent of run {run}: {', '.join(sent) or 'nothing, MLflow has it all'}.", sent=len(sent))
