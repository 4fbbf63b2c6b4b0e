"""A run on a KFP server."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from edgeline import plain_yaml, storage
from edgeline.client.remote_tasks import tasks_of
from edgeline.client.run import Report, numbers_in, table
from edgeline.environments.apply import set_caching
from edgeline.errors import EdgelineError
from edgeline.kubeflow import asking, pipeline_id, pipeline_version
from edgeline.local.plan import PlannedTask, plan
from edgeline.local.runner import TaskResult

POLL = 5.0  # seconds between two looks at a run
ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


@dataclass(frozen=True)
class Request:
    """What is to be run. See `Client.submit`."""

    pipeline: str
    environment: str
    experiment: str
    name: str
    cache: bool
    parameters: Mapping[str, Any]
    root: str


@dataclass
class RemoteRun:
    """A run as the server last told of it. See `edgeline.client.run.Run`."""

    server: Any
    id: str
    pipeline: str
    planned: list[PlannedTask]
    root: str
    console: Console
    poll: float = POLL
    _last: Any = field(default=None, repr=False)

    @property
    def state(self) -> str:
        state = str(self._look().state or "PENDING")
        return state.lower() if state in ENDED else "running"

    @property
    def page(self) -> str:
        """The address of the run's page, where its logs are."""
        return f"{self.server._get_url_prefix()}/#/runs/details/{self.id}"

    @property
    def tasks(self) -> Mapping[str, TaskResult]:
        return self._tasks(self._last or self._look())

    @cached_property
    def _artifacts(self) -> dict[str, storage.Source]:
        """Files of the run in the object store: `task/.../artifact` and where they lie."""
        if not self.root:
            raise EdgelineError(
                "Where are this run's artifacts? Give Client(root=...) the pipeline root."
            )
        folder = f"{self.root.rstrip('/')}/{self.pipeline}/{self.id}"
        return {source.name: source for source in storage.resolve([folder])}

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Of analyze on all rows and of verify, from the files beside their verdicts.

        KFP's own Metrics are in its metadata store, which its API does not show.

        Raises:
            EdgelineError: the pipeline root is not known or cannot be read.
        """
        found = {}
        for name, source in self._artifacts.items():
            if (file := name.rpartition("/")[2]) in ("metrics.json", "verification.json"):
                with storage.open_source(source) as stream:
                    value = json.load(stream)
                if file == "metrics.json":
                    whole = value["slices"][0]["metrics"]
                    value = {key: entry["value"] for key, entry in whole.items()}
                task = name.partition("/")[0]
                found[task] = numbers_in(value)
        return found

    @property
    def reports(self) -> Mapping[str, Report]:
        """By task, read from the object store.

        Raises:
            EdgelineError: the pipeline root is not known or cannot be read.
        """
        found = {}
        for name, source in self._artifacts.items():
            if name.rpartition("/")[2] in ("report", "report.html"):
                task = name.partition("/")[0]
                with storage.open_source(source) as stream:
                    found[task] = Report(task, stream.read().decode("utf-8", errors="replace"))
        return found

    def wait(self, timeout: float | None = None) -> RemoteRun:
        """Wait until it has ended, and show its tasks meanwhile. Ctrl-C leaves it running.

        Raises:
            EdgelineError: it failed or was cancelled, or has not ended in `timeout` seconds.
        """
        from edgeline.local.progress import Progress

        end = None if timeout is None else time.monotonic() + timeout
        shown: dict[str, str] = {}
        with Progress(self.console, [task.component for task in self.planned]) as progress:
            while True:
                run = self._look()
                tasks = self._tasks(run)
                for name, task in tasks.items():
                    if task.state not in ("waiting", "unknown", shown.get(name)):
                        shown[name] = task.state
                        progress.update(task)
                if run.state in ENDED:
                    break
                if end is not None and time.monotonic() >= end:
                    raise EdgelineError(
                        f"Run {self.id} has not ended in {timeout:g} s; it goes on: wait() again."
                    )
                time.sleep(self.poll)
        if run.state in ("FAILED", "CANCELED"):
            failed = [task for task in tasks.values() if task.state == "failed"]
            name = f"Task {failed[0].task.component}" if failed else f"Run {self.id}"
            said = (failed[0].error if failed else "") or (run.error.message if run.error else "")
            said = said or f"see its logs at {self.page}"
            raise EdgelineError(f"{name} {'failed' if failed else run.state.lower()}: {said}")
        return self

    def cancel(self) -> None:
        """End it."""
        asking(lambda: self.server.terminate_run(self.id))

    def __repr__(self) -> str:
        return f"Run of {self.pipeline} {self.id}: {self.state}"

    def _repr_html_(self) -> str:
        run = self._look()
        state = str(run.state or "PENDING").lower()
        return table(f"Run of {self.pipeline} {self.id}", state, self._tasks(run), self.page)

    def _look(self) -> Any:
        self._last = asking(lambda: self.server.get_run(self.id))
        return self._last

    def _tasks(self, run: Any) -> dict[str, TaskResult]:
        told = asking(lambda: tasks_of(self.server, run))
        # of what a condition left out the server says nothing; of no task at all it says nothing
        # where a run never began
        untold = ("skipped" if told else "unknown") if run.state in ENDED else "waiting"
        return {
            task.component: TaskResult(task, found.state, found.seconds, error=found.error)
            if (found := told.get(task.name))
            else TaskResult(task, untold)
            for task in self.planned
        }


def submit(server: Any, request: Request, console: Console) -> RemoteRun:
    """Upload a pipeline where the server has not this version of it, and start a run."""
    from edgeline.compiling import compile_pipeline, version_name
    from edgeline.pipelines import catalogue

    definition = catalogue.load(request.pipeline)
    name = definition.pipeline_spec.pipeline_info.name
    with tempfile.TemporaryDirectory() as temporary:
        package = compile_pipeline(
            request.pipeline,
            f"{temporary}/{name}.yaml",
            environment=request.environment,
            given=request.parameters,
        )
        text = package.read_text("utf-8")
        if not request.cache:  # the server takes no such wish for a run of a version
            text = _without_caching(text)
            package.write_text(text, "utf-8")
        # the same name as in Git: an equal pipeline is an equal version by either way
        called = version_name(text, name)
        pipeline, version = asking(lambda: _upload(server, name, called, package))
        root = next(yaml.safe_load_all(text)).get("defaultPipelineRoot")
    experiment = asking(lambda: server.create_experiment(request.experiment)).experiment_id
    started = asking(
        lambda: server.run_pipeline(
            experiment_id=experiment,
            job_name=request.name or f"{name}-{datetime.now():%Y%m%d-%H%M%S}",
            params=dict(request.parameters),
            pipeline_id=pipeline,
            version_id=version,
        )
    )
    planned = plan(definition.pipeline_spec)
    return RemoteRun(server, started.run_id, name, planned, request.root or root or "", console)


def _upload(server: Any, name: str, called: str, package: Path) -> tuple[str, str]:
    """The identifiers of a pipeline and its version, uploaded unless they are there."""
    from kfp_server_api import V2beta1Pipeline

    pipeline = pipeline_id(server, name)
    if pipeline is None:
        namespace = server.get_user_namespace() or None
        new = V2beta1Pipeline(name=name, display_name=name, namespace=namespace)
        # its upload would add a version that is named after nothing
        pipeline = server.pipelines.pipeline_service_create_pipeline(pipeline=new).pipeline_id
    made = pipeline_version(server, pipeline, called)
    if made is None:
        made = server.upload_pipeline_version(str(package), called, pipeline_id=pipeline)
    return str(pipeline), str(made.pipeline_version_id)


def _without_caching(text: str) -> str:
    pipeline, *platform = yaml.safe_load_all(text)
    set_caching(pipeline, caching=False)
    return plain_yaml.dump([pipeline, *platform])
