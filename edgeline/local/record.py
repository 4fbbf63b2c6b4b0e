"""The record of a run, `run.json`: what ran, with what, where, and what came of it.

It is written whenever a task starts or ends, beside its place and then renamed, so that a run that
was killed has one, too. It holds no secret and no query of a URL (`edgeline.local.redaction`).
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts.folder import digest_of
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.local.folders import RECORD, is_held
from edgeline.local.plan import PlannedTask
from edgeline.local.redaction import redacted
from edgeline.local.tasks import RunResult, TaskResult

FIELDS = (  # of every record
    *(
        "pipeline",
        "source",
        "folder",
        "started",
        "cache",
        "docker",
        "given",
        "left_out",
        "parameters",
    ),
    *("pins", "pipeline_digest", "edgeline", "code", "packages", "host", "attempts"),
    *("state", "error", "ended", "seconds"),
)
SCHEMA = "run/v1"
PIPELINE = "pipeline.yaml"  # in a run's folder: what was run, compiled


def now() -> str:
    """The time, in UTC, as records have it: 2026-01-31T12:00:00Z."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Recorder:
    """Keeps the record of a run that goes on.

    Attributes:
        head: what was known before the first task; see `edgeline.local.here`.
        tasks: of the run, as they are now.
        digests: of artifacts, by place, which do not change once their task has ended.
    """

    folder: Path
    head: dict[str, Any]
    tasks: Mapping[str, TaskResult]
    digests: dict[str, str | None] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def write(self, state: str = "running", error: str = "", seconds: float = 0.0) -> None:
        """Write it as the run is now.

        Args:
            state: of the run.
            error: why it ended, where that is not a task's error.
            seconds: wall time of this attempt.
        """
        with self._writing:  # tasks side by side
            attempts = self.head["attempts"]
            attempts[-1] |= {"state": state, "seconds": round(seconds, 3)}
            attempts[-1] |= {} if state == "running" else {"ended": now()}
            record = {
                **self.head,
                "state": state,
                "error": redacted(error),
                "ended": attempts[-1].get("ended"),
                "seconds": round(sum(each.get("seconds", 0.0) for each in attempts), 3),
                "tasks": {
                    name: redacted(self._task(task)) for name, task in dict(self.tasks).items()
                },
            }
            text = json.dumps(record, indent=1)
            artifacts.write_text(self.folder / RECORD, text + "\n")

    def _task(self, task: TaskResult) -> dict[str, Any]:
        log = task.log.relative_to(self.folder).as_posix() if task.log else None
        return {
            "state": task.state,
            "began": task.began,
            "seconds": round(task.seconds, 3),
            "cpu_seconds": round(task.cpu_seconds, 3),
            "peak_memory": task.peak_memory,
            "error": task.error,
            "again": task.again,
            "log": log,
            "outputs": task.outputs,
            "digests": self._digests(task),
            "plan": dataclasses.asdict(task.task),
        }

    def _digests(self, task: TaskResult) -> dict[str, str]:
        found = {}
        for name, output in task.artifacts.items():
            if "edgeline_schema" not in output["metadata"]:
                continue
            place = str(output["uri"])
            if place not in self.digests:
                self.digests[place] = digest_of(place)
            if digest := self.digests[place]:
                found[name] = digest
        return found


def read(folder: Path) -> dict[str, Any]:
    """The record of a run; one whose process is gone is `interrupted`, and so are its tasks.

    Raises:
        EdgelineError: there is none, or it is damaged, or of another edgeline.
    """
    record = typed.read(folder / RECORD)
    if not isinstance(record, dict) or not isinstance(record.get("tasks"), dict):
        raise EdgelineError(f"{folder / RECORD} is not a record of a run.")
    if record.get("schema") != SCHEMA:
        raise EdgelineError(
            f"{folder / RECORD} was written by another edgeline (its schema is "
            f"{record.get('schema', 'not told')}, not {SCHEMA}): run the pipeline again."
        )
    if absent := [name for name in FIELDS if name not in record]:
        raise _damaged(folder, f"{absent[0]} is missing")
    attempts = record["attempts"]
    if not attempts or not all(isinstance(each, dict) and "started" in each for each in attempts):
        raise _damaged(folder, "an attempt is without its time")
    restored(folder, record)
    if record["state"] == "running" and not is_held(folder):
        record["state"] = "interrupted"
        for task in record["tasks"].values():
            task["state"] = {"running": "canceled"}.get(task["state"], task["state"])
    return record


def restored(folder: Path, record: Mapping[str, Any]) -> RunResult:
    """A run as its record tells of it.

    Raises:
        EdgelineError: the record is damaged.
    """
    try:
        tasks = {name: _restored(folder, task) for name, task in record["tasks"].items()}
        state = record["state"]
        return RunResult(
            pipeline=record["pipeline"],
            folder=folder,
            seconds=record["seconds"],
            tasks=tasks,
            unfinished=state if state in ("running", "interrupted") else "",
            error=record["error"],
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(folder, repr(error)) from error


def _damaged(folder: Path, why: str) -> EdgelineError:
    return EdgelineError(
        f"{folder / RECORD} is damaged ({why}): remove that folder, or run the pipeline again."
    )


def _restored(folder: Path, task: Mapping[str, Any]) -> TaskResult:
    own = dict(task["plan"])
    for name in ("needs", "gates"):
        own[name] = tuple(own[name])
    own["choices"] = tuple(tuple(each) for each in own["choices"])
    return TaskResult(
        task=PlannedTask(**own),
        state=task["state"],
        seconds=task["seconds"],
        cpu_seconds=task["cpu_seconds"],
        peak_memory=task["peak_memory"],
        error=task["error"],
        log=folder / task["log"] if task["log"] else None,
        outputs=task["outputs"],
        began=task["began"],
        again=task["again"],
    )
