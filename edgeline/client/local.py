"""Runs on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgeline.artifacts.bundle import SCHEMA as BUNDLE_SCHEMA
from edgeline.artifacts.folder import facts_of, schema_of
from edgeline.client.backend import RunRequest
from edgeline.client.run import Report, Reports, only_bundle, table
from edgeline.errors import EdgelineError
from edgeline.kubeflow.states import RunState
from edgeline.local.refusals import refusals
from edgeline.local.summary import metrics
from edgeline.local.tasks import RunResult, TaskResult

if TYPE_CHECKING:
    from edgeline.local.runs import KeptRun


@dataclass(frozen=True)
class LocalRun:
    """A run that has ended, in its folder. See `edgeline.client.run.Run`."""

    result: RunResult
    page: Path

    @property
    def id(self) -> str:
        return str(self.result.folder)

    @property
    def state(self) -> RunState:
        return self.result.state

    @property
    def tasks(self) -> Mapping[str, TaskResult]:
        return self.result.tasks

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        return {name: found for name, task in self.tasks.items() if (found := metrics(task))}

    @property
    def reports(self) -> Mapping[str, Report]:
        found = Reports()
        for name, task in self.tasks.items():
            for output in task.artifacts.values():
                path = Path(str(output["uri"]))
                if path.is_file() and path.read_bytes()[:9].lower() == b"<!doctype":
                    found[name] = Report(name, path.read_text("utf-8", errors="replace"))
        return found

    @property
    def bundles(self) -> Mapping[str, str]:
        """By name, where what was published is: a path or an address, for `edgeline.load`."""
        facts = (
            facts_of(str(output["uri"]))
            for task in self.tasks.values()
            for output in task.artifacts.values()
            if schema_of(str(output["uri"])) == BUNDLE_SCHEMA
        )
        return {str(each["name"]): str(each["uri"]) for each in facts}

    @property
    def bundle(self) -> str:
        """Where the only bundle is.

        Raises:
            EdgelineError: none was published, by why, or there are several.
        """
        why = " ".join(refusals(self.tasks)) or f"The run's state is {self.state}."
        return only_bundle(f"The run of {self.result.pipeline}", self.bundles, why)

    def wait(self, timeout: float | None = None) -> LocalRun:  # noqa: ARG002
        """Itself: it has ended.

        Raises:
            EdgelineError: a task failed, by what it said.
        """
        if self.result.failed:
            first = self.result.failed[0]
            raise EdgelineError(f"Task {first.task.component} failed: {first.error}")
        return self

    def __repr__(self) -> str:
        return f"Run of {self.result.pipeline}: {self.state}, {self.result.seconds:.1f} s"

    def _repr_html_(self) -> str:
        return table(f"Run of {self.result.pipeline}", self.state, self.tasks)


@dataclass(frozen=True)
class Here:
    """The backend of this machine: a run has ended when `submit` returns.

    Attributes:
        root: where runs are kept.
        console: where progress is shown.
        docker: run each task in a container of its image.
        track: the address of a tracker; "" for MLFLOW_TRACKING_URI's, if any.
    """

    root: Path
    console: Console
    docker: bool = False
    track: str = ""

    def submit(self, request: RunRequest) -> LocalRun:
        from edgeline.local.here import run_here

        return LocalRun(
            *run_here(
                *(request.definition, request.parameters, self.root, request.cache, self.console),
                docker=self.docker,
                source=request.source,
                track=self.track,
            )
        )

    def resume(
        self,
        run: KeptRun,
        definition: Any,
        arguments: Mapping[str, Any],
        cache: bool,
        source: str,
        start: str = "",
    ) -> LocalRun:
        """Go on with a run; see `edgeline.local.resume`.

        Args:
            definition: its pipeline, and `source`, what that was loaded by.
            arguments: all parameters that are set.
            start: a task that runs again in any case; "" for none.
        """
        from edgeline.local.here import GoingOn, run_here

        earlier = GoingOn(run.folder, run.record, start)
        return LocalRun(
            *run_here(
                *(definition, arguments, self.root, cache, self.console, self.docker),
                source=source,
                earlier=earlier,
                track=self.track,
            )
        )

    def __str__(self) -> str:
        return "this machine"
