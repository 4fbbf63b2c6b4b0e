"""One way to run a pipeline, on this machine or on a KFP server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from edgeline.client.backend import Backend, RunRequest
from edgeline.client.run import Run
from edgeline.errors import UsageError


class Client:
    """Submits pipelines.

    Without a host they run on this machine, as `edgeline run` does. With one they are uploaded,
    each version once, and run by the server.

        client = edgeline.Client()
        run = client.submit("taxi", steps=200).wait()
        run.metrics["analyze"]["auc"]
        run.reports["train"]        # shown in a notebook

    Args:
        host: the address of KFP's API; None: this machine. `edgeline.kubeflow.api.connect` says
            where its token and its CA come from. That of Kubeflow's pages tells where a run's files
            are, too, also of tasks that were taken from the cache.
        namespace: a profile's, where KFP has several users; by default the environment's of a
            pipeline that is submitted, then a pod's own.
        root: here: where runs are kept. On a server: the pipeline root that reports are read
            from, for example s3://mlpipeline/pipelines, where the host does not tell it; by
            default the pipeline's own, or that of the namespace's profile.
        console: where progress is shown.
        docker: here: run each task in a container of its image.

    Raises:
        EdgelineError: no server answers.
    """

    def __init__(
        self,
        host: str | None = None,
        namespace: str | None = None,
        root: str = "",
        console: Console | None = None,
        docker: bool = False,
    ) -> None:
        console = console or Console(emoji=False)
        self.backend: Backend
        if host:
            from edgeline.client.server import Server
            from edgeline.kubeflow.api import reach

            self.backend = Server(reach(host, namespace), root, console, namespace)
        else:
            from edgeline.client.local import Here

            self.backend = Here(Path(root or "edgeline-runs"), console, docker)

    def __repr__(self) -> str:
        return f"Client({self.backend})"

    def submit(
        self,
        pipeline: Any,
        arguments: Mapping[str, Any] | None = None,
        *,
        cache: bool = True,
        environment: str = "",
        experiment: str = "Default",
        name: str = "",
        shared: bool = False,
        **parameters: Any,
    ) -> Run:
        """Start a run. On this machine it has ended when this returns, and shows its progress.

        Args:
            pipeline: a name of edgeline's, a Python file, a compiled .yaml file, or what
                `edgeline.pipelines.catalogue.load` gave for one.
            arguments: parameters of the pipeline by name, as Python values; for those that are
                called as one of these arguments, such as `name`.
            cache: whether unchanged tasks are taken from earlier runs. On a server a run without
                makes no version of the pipeline: its content goes along with it.
            environment: on a server: what it is compiled for (see `edgeline.environments`).
            experiment: on a server: where the run is shown.
            name: of the run on the server; by default the pipeline's with the time.
            shared: on a server with several teams: upload into the pipeline that all teams
                share, which any of them may then run. Else it is only read, and a new version
                goes to the namespace's own pipeline. With one user it changes nothing.
            **parameters: more of them, as keywords.

        Raises:
            UsageError: the pipeline or a parameter is unknown, a required one is missing, or a
                value is not one (see `edgeline.pipelines.parameters.check`).
            EdgelineError: the server has other content under the version's name, or it refuses.
        """
        from edgeline.pipelines import catalogue
        from edgeline.pipelines.parameters import check, missing, parameters_of

        definition = catalogue.load(pipeline) if isinstance(pipeline, str) else pipeline
        known = parameters_of(definition)
        if twice := sorted(parameters.keys() & (arguments or {}).keys()):
            raise UsageError(f"Parameter {', '.join(twice)} is given twice: give it once.")
        parameters = check({**(arguments or {}), **parameters}, known)
        if absent := missing(known, parameters):
            label = pipeline if isinstance(pipeline, str) else definition.name
            raise UsageError(f"Pipeline {label} also needs {', '.join(absent)}.")
        source = pipeline if isinstance(pipeline, str) else ""
        return self.backend.submit(
            RunRequest(definition, parameters, cache, environment, experiment, name, shared, source)
        )
