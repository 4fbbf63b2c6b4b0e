"""A run on a KFP server."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgeline.client import stored, upload
from edgeline.client.backend import RunRequest
from edgeline.client.lineage import artifacts_of
from edgeline.client.remote_tasks import tasks_of
from edgeline.client.run import Report, RunState, table
from edgeline.environments.apply import set_caching
from edgeline.environments.environment import Environment, load
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import names
from edgeline.kubeflow import profiles
from edgeline.kubeflow.api import asking, check_namespace, has_teams
from edgeline.kubeflow.refusals import RefusedError
from edgeline.local.plan import PlannedTask, plan
from edgeline.local.tasks import DONE, TaskResult, TaskState
from edgeline.reports import terminal

if TYPE_CHECKING:
    from edgeline.client.compiling import CompiledPipeline

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
        """End it. Nothing happens where it has ended, or is about to."""
        try:
            asking(lambda: self.server.terminate_run(self.id))
        except RefusedError:
            # a second time is refused as for a run that the server does not know
            if not self._is_ending():
                raise

    def _is_ending(self) -> bool:
        try:
            return str(self._look().state) in (*ENDED, "CANCELING")
        except EdgelineError:
            return False

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
        connection: a `kfp.Client`, as `edgeline.kubeflow.api.reach` makes it.
        root: the pipeline root that reports are read from, where the server does not tell it; ""
            for the pipeline's own, or a profile's.
        console: where progress is shown.
        namespace: the profile's that was given; None: an environment's `namespace` counts, then a
            pod's own.
    """

    connection: Any
    root: str
    console: Console
    namespace: str | None = None

    def submit(self, request: RunRequest) -> RemoteRun:
        """Start a run of a pipeline, uploaded where the server has not this content of it.

        Whether one may is asked first, as far as the server tells it, and then things are made.
        """
        environment = load(request.environment) if request.environment else None
        with self._namespace(environment):
            return _submit(self.connection, request, environment, self.root, self.console)

    @contextmanager
    def _namespace(self, environment: Environment | None) -> Iterator[None]:
        """The connection in an environment's namespace, where none was given."""
        before = self.connection.get_user_namespace()
        teams = asking(lambda: has_teams(self.connection))
        if teams and not self.namespace and environment and environment.namespace:
            self.connection.set_user_namespace(environment.namespace)
        try:
            check_namespace(self.connection)
            yield
        finally:
            self.connection.set_user_namespace(before)

    def __str__(self) -> str:
        return str(self.connection._get_url_prefix())


def _submit(
    server: Any, request: RunRequest, environment: Environment | None, root: str, console: Console
) -> RemoteRun:
    from edgeline.client.compiling import check_root, compile_definition

    _check_titles(request)
    compiled = compile_definition(request.definition, {}, environment, request.parameters)
    check_root(compiled.documents[0])
    team = server.get_user_namespace() if has_teams(server) else ""
    if team:
        _warn_of_places(request, compiled, team)
    # the same name as in Git: an equal pipeline is an equal version by either way
    name = compiled.name
    started = (_start if request.cache else _start_inline)(server, request, compiled)
    if not getattr(started, "run_id", None):
        raise EdgelineError(
            f"The server does not tell the identifier of the run of {name} that it was asked for: "
            "see its pages whether the run is there."
        )
    planned = plan(request.definition.pipeline_spec)
    root = root or compiled.documents[0].get("defaultPipelineRoot") or ""
    root = root or (profiles.root(team) if team else "")
    return RemoteRun(server, started.run_id, name, planned, root, console)


def _warn_of_places(request: RunRequest, compiled: CompiledPipeline, team: str) -> None:
    """Say which root and destinations the key that profiles come with cannot write to."""
    from edgeline.lint.destinations import published

    pipeline, *platform = compiled.documents
    places = [pipeline.get("defaultPipelineRoot") or ""]
    for entry in published(pipeline, platform[0] if platform else {}):
        places.append(request.parameters.get(entry.parameter, entry.destination))
    for place in places:
        if isinstance(place, str) and profiles.is_out_of_reach(place, team):
            terminal.console(sys.stderr).print(
                f"Warning: the key of profile {team} may not write to {place}, unless somebody "
                f"allowed it: s3://{profiles.BUCKET}/private/{team}/ is its own.",
                soft_wrap=True,
                markup=False,
            )


def _start(server: Any, request: RunRequest, compiled: CompiledPipeline) -> Any:
    """A run of the version with this content, which is uploaded where it is not there."""
    wanted = upload.WantedPipeline(
        compiled.name, compiled.version, compiled.documents, request.shared
    )
    found = asking(lambda: upload.find(server, wanted))
    writes = request.shared and not found.version
    experiment = asking(lambda: upload.experiment(server, request.experiment, writes))
    if not found.version:
        with _package(compiled) as package:
            looked = found
            found = asking(lambda: upload.upload(server, wanted, looked, package))
    place = found.place
    return asking(
        lambda: server.run_pipeline(
            experiment_id=experiment,
            job_name=_title(request, compiled),
            params=dict(request.parameters),
            pipeline_id=place.id if place else None,
            version_id=found.version,
        )
    )


def _start_inline(server: Any, request: RunRequest, compiled: CompiledPipeline) -> Any:
    """A run without the cache. The server takes no such wish for a run of a version, and a version
    of its own would be the newest, which schedules take that name none: so its spec goes along."""
    set_caching(compiled.documents[0], caching=False)
    experiment = asking(lambda: upload.experiment(server, request.experiment, False))
    with _package(compiled) as package:
        return asking(
            lambda: server.run_pipeline(
                experiment_id=experiment,
                job_name=_title(request, compiled),
                pipeline_package_path=str(package),
                params=dict(request.parameters),
            )
        )


@contextmanager
def _package(compiled: CompiledPipeline) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary) / f"{compiled.name}.yaml"
        package.write_text(compiled.text, "utf-8")
        yield package


def _title(request: RunRequest, compiled: CompiledPipeline) -> str:
    return request.name or f"{compiled.name}-{datetime.now():%Y%m%d-%H%M%S}"


def _check_titles(request: RunRequest) -> None:
    """Refuse what the server would answer with 500.

    Raises:
        UsageError: it names the option.
    """
    if request.name and (fault := names.unfit_title(request.name)):
        raise UsageError(f"The run's name (--name, name=) {fault}.")
    if fault := names.unfit_experiment(request.experiment):
        raise UsageError(f"The experiment's name (--experiment, experiment=) {fault}.")
