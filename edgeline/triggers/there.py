"""Runs on a KFP server, where a run's name is its mark.

The server takes any name twice, so who is not certain that a run was begun looks for its name, and
only some time after it was asked for: a request may reach the server after its sender is gone.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from edgeline.kubeflow.api import asking, called, connect
from edgeline.kubeflow.refusals import RefusedError, grpc_code
from edgeline.kubeflow.run_tasks import run_state
from edgeline.pipelines import catalogue
from edgeline.pipelines.parameters import parameters_of
from edgeline.triggers import launching
from edgeline.triggers.here import pipeline_of
from edgeline.triggers.launching import FoundRun
from edgeline.triggers.store import Firing

SETTLE = 300.0  # seconds: well above the client's timeout, after which the request may yet be done
EVERY = 15.0  # seconds
NOT_FOUND = 5  # gRPC's code


class ServerLauncher:
    """The launcher of one server."""

    def __init__(self, host: str, namespace: str, beside: Path) -> None:
        self.settle, self.every = SETTLE, EVERY
        self._host, self._namespace, self._beside = host, namespace, beside

    def look(self, firing: Firing) -> FoundRun:
        server = connect(self._host, self._namespace or None)
        run = firing.place or _named(server, firing.mark)
        if not run:
            return FoundRun("absent")
        try:
            state = run_state(asking(lambda: server.get_run(run)))
        except RefusedError as error:
            if grpc_code(error.__cause__) != NOT_FOUND:  # a proxy's 404 tells nothing of the run
                raise
            return FoundRun("failed", run, "the server does not have it any more: was it deleted?")
        if state == "running":
            return FoundRun("running", run)
        if state == "succeeded":
            return FoundRun("succeeded", run)
        return FoundRun("failed", run, f"the server ended it as {state}")

    def begin(self, firing: Firing) -> str:
        from rich.console import Console

        from edgeline.client.client import Client

        order = firing.ordered.run
        definition = catalogue.load(pipeline_of(order.pipeline, self._beside))
        client = Client(self._host, self._namespace or None, console=Console(file=io.StringIO()))
        return client.submit(
            definition,
            launching.arguments(firing, parameters_of(definition)),
            environment=order.environment,
            experiment=order.experiment,
            name=firing.mark,
        ).id


def _named(server: Any, mark: str) -> str:
    """The identifier of the run of a name; empty where there is none."""
    found = asking(
        lambda: (
            server.list_runs(
                filter=called(mark), namespace=server.get_user_namespace() or None
            ).runs
        )
    )
    return str(found[0].run_id) if found else ""
