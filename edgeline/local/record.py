"""The record of a run, `run.json`: what ran, with what, where, and what came of it.

It is written whenever a task starts or ends, beside its place and then renamed, so that a run that
was killed has one, too. It holds no secret and no query of a URL (`edgeline.local.redaction`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

from edgeline import artifacts
from edgeline.artifacts.folder import digest_of
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.kubeflow.states import RunState, TaskState
from edgeline.local.folders import RECORD, is_held
from edgeline.local.plan import PlannedTask
from edgeline.local.redaction import redacted
from edgeline.local.tasks import RunResult, TaskResult

FIELDS: dict[str, type | tuple[type, ...]] = {  # of every record
    **dict.fromkeys(("pipeline", "source", "folder", "started", "pipeline_digest"), str),
    **dict.fromkeys(("edgeline", "code", "state", "error"), str),
    **dict.fromkeys(("cache", "docker"), bool),
    **dict.fromkeys(("given", "parameters", "pins", "packages", "host", "tasks"), dict),
    **dict.fromkeys(("left_out", "attempts"), list),
    "ended": (str, type(None)),
    "seconds": (int, float),
}
TASK: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("error", "began", "again"), str),
    **dict.fromkeys(("seconds", "cpu_seconds", "peak_memory"), (int, float)),
    **dict.fromkeys(("outputs", "digests", "plan"), dict),
}
HOST = ("name", "system", "machine", "cpus", "memory", "python")
SCHEMA = "run/v1"
TIME = "%Y-%m-%dT%H:%M:%SZ"
PIPELINE = "pipeline.yaml"  # in a run's folder: what was run, compiled
# of a pair that no file's name has either: those that are not UTF-8 have U+DC80 to U+DCFF
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def now() -> str:
    """The time, in UTC, as records have it: 2026-01-31T12:00:00Z."""
    return datetime.now(timezone.utc).strftime(TIME)


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

    What its tasks say is looked at by `restored`.

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
    if why := _fault(record):
        raise _damaged(folder, why)
    if record["state"] == "running" and not is_held(folder):
        record["state"] = "interrupted"
        for task in record["tasks"].values():
            if isinstance(task, dict) and task.get("state") == "running":
                task["state"] = "canceled"
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
        raise _damaged(folder, str(error) if type(error) is ValueError else repr(error)) from error


def _fault(record: Mapping[str, Any]) -> str:
    """What is missing of a record, or of another kind than Edgeline writes; "" for nothing."""
    if _HALF.search(json.dumps(record, ensure_ascii=False)):
        return "half a surrogate pair is in it"
    for name, kind in FIELDS.items():
        if name not in record:
            return f"{name} is missing"
        if not isinstance(record[name], kind):
            return f"{name} is of another kind"
    if record["state"] not in get_args(RunState):
        return f"its state is {record['state'][:20]!r}"
    if not isinstance(record.get("order", 0), int):
        return "its order is not a number"
    for name in HOST:
        if name not in record["host"]:
            return f"{name} of the host is missing"
    for each in (record["pins"], record["packages"]):
        if not all(isinstance(value, str) for value in each.values()):
            return "a pin or a package's version is not a text"
    if not all(
        isinstance(each, dict) and _is_time(each.get("started")) for each in record["attempts"]
    ):
        return "an attempt is without its time"
    return "" if record["attempts"] else "it has no attempt"


def _is_time(value: Any) -> bool:
    try:
        return bool(datetime.strptime(value, TIME))
    except (TypeError, ValueError):
        return False


def _damaged(folder: Path, why: str) -> EdgelineError:
    place = folder / RECORD
    with contextlib.suppress(ValueError):  # it lies elsewhere
        place = place.relative_to(Path.cwd())
    return EdgelineError(
        f"{place} is damaged ({why}): remove that folder, or run the pipeline again."
    )


def _restored(folder: Path, task: Mapping[str, Any]) -> TaskResult:
    own = dict(task["plan"])
    for name in ("needs", "gates"):
        own[name] = tuple(own[name])
    own["choices"] = tuple(tuple(each) for each in own["choices"])
    if task["state"] not in get_args(TaskState):
        raise ValueError(f"the state of a task is {str(task['state'])[:20]!r}")
    for name, kind in TASK.items():
        if not isinstance(task[name], kind):
            raise ValueError(f"{name} of a task is of another kind")
    for name, value in task["outputs"].items():
        is_artifact = isinstance(value, dict) and {"uri", "metadata"} <= value.keys()
        if is_artifact and not isinstance(value["metadata"], dict):
            raise ValueError(f"{name} of a task is not an artifact")
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
