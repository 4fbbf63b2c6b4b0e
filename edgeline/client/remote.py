"""A run on a KFP server."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from edgeline.client import stored
from edgeline.client.backend import RunRequest
from edgeline.client.lineage import artifacts_of
from edgeline.client.remote_tasks import tasks_of
from edgeline.client.run import Report, RunState, table
from edgeline.environments.apply import set_caching
from edgeline.errors import EdgelineError
from edgeline.kubeflow.api import asking
from edgeline.local.plan import PlannedTask, plan
from edgeline.local.tasks import DONE, TaskResult, TaskState
from edgeline.reports import terminal

POLL = 5.0  # seconds between two looks at a run
METRICS = ("metrics.json", "verification.json")
REPORTS = ("report", "report.html")
ENDED: dict[str, RunState] = {  # what the server calls it
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "SKIPPED": "skipped",
    "CANCELED": "canceled",
}


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
    def state(self) -> RunState:
        return ENDED.get(str(self._look().state), "running")

    @property
    def page(self) -> str:
        """The address of the run's page, where its logs are."""
        return f"{self.server._get_url_prefix()}/#/runs/details/{self.id}"

    @property
    def tasks(self) -> Mapping[str, TaskResult]:
        return self._tasks(self._last or self._look())

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Of analyze on all rows and of verify, from the files beside their verdicts.

        A task that ran several times, in a loop or again, has several: `verify[0]`, `verify[1]`.

        Raises:
            EdgelineError: the run's files are nowhere to be found, or cannot be read.
        """
        return {
            file.task: found
            for file in self._files()
            if file.name in METRICS and (found := stored.numbers_of(file))
        }

    @property
    def reports(self) -> Mapping[str, Report]:
        """By task, read from the object store; several of one task as in `metrics`.

        Raises:
            EdgelineError: the run's files are nowhere to be found, or cannot be read.
        """
        return {
            file.task: Report(file.task, stored.text_of(file))
            for file in self._files()
            if file.name in REPORTS
        }

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

    def _files(self) -> list[stored.StoredFile]:
        told = asking(lambda: artifacts_of(self.server, self.id))
        if told is not None:
            return stored.files_of(told)
        found = stored.files_below(self.root, self.pipeline, self.id)
        tasks = {file.task.partition("[")[0] for file in found}
        ended = (task for task in self.tasks.values() if task.state in DONE)
        absent = ", ".join(task.task.name for task in ended if task.task.name not in tasks)
        if absent or not found:
            said = (
                f"No files of {absent or 'any task'} are in the folder of run {self.id}: what was "
                "taken from the cache lies with an earlier run, and where, only the address of "
                "Kubeflow's pages tells: give Client(host=...) that one."
            )
            if not found:
                raise EdgelineError(said)
            terminal.console(sys.stderr).print(said)
        return found

    def _look(self) -> Any:
        found = asking(lambda: self.server.get_run(self.id))
        if found is None:
            raise EdgelineError(
                f"The server tells nothing of run {self.id}: is it one of its runs?"
            )
        self._last = found
        return found

    def _tasks(self, run: Any) -> dict[str, TaskResult]:
        told = asking(lambda: tasks_of(self.server, run))
        # of what a condition left out the server says nothing; of no task at all it says nothing
        # where a run never began
        untold: TaskState = "waiting"
        if run.state in ENDED:
            untold = "skipped" if told else "unknown"
        return {
            task.component: TaskResult(task, found.state, found.seconds, error=found.error)
            if (found := told.get(task.name))
            else TaskResult(task, untold)
            for task in self.planned
        }


@dataclass(frozen=True)
class Server:
    """The backend of a KFP server.

    Attributes:
        connection: a `kfp.Client`, as `edgeline.kubeflow.api.connect` makes it.
        root: the pipeline root that reports are read from, where the server does not tell it; ""
            for the pipeline's own.
        console: where progress is shown.
    """

    connection: Any
    root: str
    console: Console

    def submit(self, request: RunRequest) -> RemoteRun:
        """Start a run of a pipeline, uploaded where the server has not this content of it.

        Whether one may is asked first, as far as the server tells it, and then things are made.
        """
        return _submit(self.connection, request, self.root, self.console)

    def __str__(self) -> str:
        return str(self.connection._get_url_prefix())


def _submit(server: Any, request: RunRequest, root: str, console: Console) -> RemoteRun:
    from edgeline.client import upload
    from edgeline.client.compiling import compile_definition
    from edgeline.environments.environment import load

    environment = load(request.environment) if request.environment else None
    compiled = compile_definition(request.definition, {}, environment, request.parameters)
    if not request.cache:  # the server takes no such wish for a run of a version
        set_caching(compiled.documents[0], caching=False)
    # the same name as in Git: an equal pipeline is an equal version by either way
    name = compiled.name
    wanted = upload.WantedPipeline(name, compiled.version, compiled.documents, request.shared)
    found = asking(lambda: upload.find(server, wanted))
    writes = request.shared and not found.version
    experiment = asking(lambda: upload.experiment(server, request.experiment, writes))
    if not found.version:
        with tempfile.TemporaryDirectory() as temporary:
            package = Path(temporary) / f"{name}.yaml"
            package.write_text(compiled.text, "utf-8")
            looked = found
            found = asking(lambda: upload.upload(server, wanted, looked, package))
    place = found.place
    started = asking(
        lambda: server.run_pipeline(
            experiment_id=experiment,
            job_name=request.name or f"{name}-{datetime.now():%Y%m%d-%H%M%S}",
            params=dict(request.parameters),
            pipeline_id=place.id if place else None,
            version_id=found.version,
        )
    )
    if not getattr(started, "run_id", None):
        raise EdgelineError(
            f"The server does not tell the identifier of the run of {name} that it was asked for: "
            "see its pages whether the run is there."
        )
    planned = plan(request.definition.pipeline_spec)
    root = root or compiled.documents[0].get("defaultPipelineRoot") or ""
    return RemoteRun(server, started.run_id, name, planned, root, console)
