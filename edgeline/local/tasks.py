"""What became of a run and of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgeline.kubeflow.states import RunState, TaskState
from edgeline.local.plan import PlannedTask, plan

DONE: tuple[TaskState, ...] = ("succeeded", "cached")


@dataclass
class TaskResult:
    """What became of a planned task.

    `seconds` is wall time, `cpu_seconds` that of all its processors, `peak_memory` bytes (both 0
    where it ran in no warm process), `outputs` the parameters and artifacts as kfp's executor wrote
    them. `began` is when it last started, in UTC, and `again` why it ran although it had ended well
    before, in a run that is gone on with.
    """

    task: PlannedTask
    state: TaskState = "waiting"
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    error: str = ""
    log: Path | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    began: str = ""
    again: str = ""

    @property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        """Those of its outputs that are artifacts, each with `uri` and `metadata`."""
        found = {name: each for name, each in self.outputs.items() if isinstance(each, dict)}
        return {name: each for name, each in found.items() if {"uri", "metadata"} <= each.keys()}


def planned(pipeline: Any) -> dict[str, TaskResult]:
    """The tasks of a pipeline by component, none of which has begun."""
    return {step.component: TaskResult(step) for step in plan(pipeline.pipeline_spec)}


@dataclass(frozen=True)
class RunResult:
    """A run: its folder, its tasks by component, its wall time in seconds.

    `unfinished` is `running` or `interrupted` where it has not come to an end of its own, `error`
    what ended it beside its tasks.
    """

    pipeline: str
    folder: Path
    seconds: float
    tasks: Mapping[str, TaskResult]
    unfinished: Literal["", "running", "interrupted"] = ""
    error: str = ""

    @property
    def state(self) -> RunState:
        if self.unfinished:
            return self.unfinished
        if self.failed or self.error:
            return "failed"
        return "stopped" if self.skipped else "succeeded"

    @property
    def failed(self) -> list[TaskResult]:
        return [task for task in self.tasks.values() if task.state == "failed"]

    @property
    def skipped(self) -> list[TaskResult]:
        return [task for task in self.tasks.values() if task.state == "skipped"]
