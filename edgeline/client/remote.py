"""A run on a KFP server."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgeline.artifacts import LISTING
from edgeline.artifacts.bundle import SCHEMA as BUNDLE_SCHEMA
from edgeline.client import stored
from edgeline.client.lineage import artifacts_of
from edgeline.client.run import Report, Reports, only_bundle, table
from edgeline.errors import EdgelineError
from edgeline.kubeflow.api import UnavailableError, asking
from edgeline.kubeflow.refusals import RefusedError
from edgeline.kubeflow.run_tasks import run_state, tasks_of
from edgeline.kubeflow.states import RunState, TaskState
from edgeline.lint.workflow import COMPRESSED
from edgeline.local.plan import PlannedTask
from edgeline.local.progress import Progress
from edgeline.local.tasks import DONE, TaskResult
from edgeline.reports import terminal

if TYPE_CHECKING:
    from kfp import Client as KfpClient

POLL = 5.0  # seconds between two looks at a run
PAUSE = 60.0  # at most, while the server does not answer
SETTLED = ("succeeded", "cached", "failed", "canceled")  # of a task that is told for good
PATIENCE = 1800.0  # seconds without an answer after which waiting ends; a rollout takes minutes
METRICS = ("metrics.json", "verification.json")
REPORTS = ("report", "report.html", "model_card")  # how the names of their files end


@dataclass
class RemoteRun:
    """A run as the server last told of it. See `edgeline.client.run.Run`."""

    server: KfpClient
    id: str
    pipeline: str
    planned: list[PlannedTask]
    root: str
    console: Console
    poll: float = POLL
    _last: Any = field(default=None, repr=False)

    @property
    def state(self) -> RunState:
        return run_state(self._look())

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
        return Reports(
            (file.task, Report(file.task, stored.text_of(file)))
            for file in self._files()
            if file.name.endswith(REPORTS)
        )

    @property
    def bundles(self) -> Mapping[str, str]:
        """By name, where what was published is, from the copies that `publish` left.

        Raises:
            EdgelineError: the run's files are nowhere to be found, or cannot be read.
        """
        copies = (stored.facts_of(f, BUNDLE_SCHEMA) for f in self._files() if f.name == LISTING)
        return {str(each["name"]): str(each["uri"]) for each in copies if each}

    @property
    def bundle(self) -> str:
        """Where the only bundle is.

        Raises:
            EdgelineError: none was published, there are several, or see `bundles`.
        """
        return only_bundle(f"Run {self.id}", self.bundles, f"See its tasks at {self.page}")

    def wait(self, timeout: float | None = None) -> RemoteRun:
        """Wait until it has ended, and show its tasks meanwhile. Ctrl-C leaves it running.

        A server that does not answer is asked again for half an hour.

        Raises:
            EdgelineError: it failed or was cancelled, has not ended in `timeout` seconds, or the
                server refuses to tell.
        """
        end = None if timeout is None else time.monotonic() + timeout
        try:
            with Progress(self.console, [task.component for task in self.planned]) as progress:
                run = self._watched(progress, end)
                progress.tell_skipped()
            self._tell_unknown(run)
        except KeyboardInterrupt:
            self._say(f"{self._goes_on()}; it can be ended there, too.")
            raise
        state = run_state(run)
        if state == "canceled":
            raise EdgelineError(f"Run {self.id} was cancelled: see {self.page}")
        if state == "failed":
            failed = [task for task in self._tasks(run).values() if task.state == "failed"]
            name = f"Task {failed[0].task.component}" if failed else f"Run {self.id}"
            said = (failed[0].error if failed else "") or (run.error.message if run.error else "")
            raise EdgelineError(f"{name} failed: {said or f'see its logs at {self.page}'}")
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
            run = self._look()
        except EdgelineError:
            return False
        return run_state(run) != "running" or str(run.state) == "CANCELING"

    def _watched(self, progress: Progress, end: float | None) -> Any:
        """The run when it has ended."""
        shown: dict[str, str] = {}
        again = True
        while True:
            run = self._look_patiently(end)
            ended = run_state(run) != "running"
            tasks = self._tasks(run)
            # the server writes a run's own state down before its tasks', the last one's among them
            if ended and again and not all(task.state in SETTLED for task in tasks.values()):
                again = False
                time.sleep(self.poll)
                continue
            for name, task in tasks.items():
                if task.state not in ("waiting", "unknown", shown.get(name)):
                    shown[name] = task.state
                    progress.update(task)
            if ended:
                return run
            if end is not None and time.monotonic() >= end:
                raise EdgelineError(
                    f"Run {self.id} has not ended in time; it goes on: wait() again, or look at "
                    f"{self.page}"
                )
            time.sleep(self.poll)

    def _look_patiently(self, end: float | None) -> Any:
        """The run, where the server does not answer for some minutes, too."""
        since, pause = time.monotonic(), self.poll
        said = False
        while True:
            try:
                found = self._look()
            except UnavailableError as error:
                now = time.monotonic()
                if now - since >= PATIENCE or (end is not None and now >= end):
                    raise EdgelineError(f"{error} {self._goes_on()}") from error
                if not said:
                    minutes = PATIENCE / 60
                    self._say(f"{error} The run goes on; asking again for {minutes:.0f} minutes.")
                said = True
                time.sleep(pause)
                pause = min(pause * 2, PAUSE)
            except EdgelineError as error:
                raise EdgelineError(f"{error} {self._goes_on()}") from error
            else:
                if said:
                    self._say("The server answers again.")
                return found

    def _tell_unknown(self, run: Any) -> None:
        """Say of which tasks the server does not tell how they ended, where it told of others."""
        tasks = self._tasks(run)
        unknown = [name for name, task in tasks.items() if task.state == "unknown"]
        if 0 < len(unknown) < len(tasks):
            self._say(
                f"How {', '.join(unknown)} ended is not known: the server stopped reading the "
                "tasks of this run, as Kubeflow Pipelines 2.17 does where its workflow is above "
                f"{COMPRESSED / 1000:,.0f} kB. The run itself is told: {run_state(run)}. Fewer "
                "targets, or manifests/components/small-workflows in the cluster, keep it below."
            )

    def _goes_on(self) -> str:
        return f"Run {self.id} goes on: look at {self.page}"

    def _say(self, sentence: str) -> None:
        self.console.print(sentence, soft_wrap=True, markup=False, highlight=False)

    def __repr__(self) -> str:
        return f"Run of {self.pipeline} {self.id}: {self.state}"

    def _repr_html_(self) -> str:
        run = self._look()
        state = run_state(run)
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
                "Kubeflow's pages tells: give --host (in Python Client(host=...)) that one."
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
        names = [task.name for task in self.planned]
        told = asking(lambda: tasks_of(self.server, run, names))
        ended = run_state(run) != "running"
        untold: TaskState = "unknown" if ended and not told else "waiting"
        return {
            task.component: TaskResult(task, found.state, found.seconds, error=found.error)
            if (found := told.get(task.name))
            else TaskResult(task, untold)
            for task in self.planned
        }
