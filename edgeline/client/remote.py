"""A run on a KFP server."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from edgeline.client import stored
from edgeline.client.lineage import artifacts_of
from edgeline.client.remote_tasks import tasks_of
from edgeline.client.run import Report, RunState, table
from edgeline.errors import EdgelineError
from edgeline.kubeflow.api import asking
from edgeline.kubeflow.refusals import RefusedError
from edgeline.local.plan import PlannedTask
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
