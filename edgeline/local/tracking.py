"""A run's folder told to MLflow: while the run goes on, at its end, or later.

What is told follows from the record and the artifacts alone, so nothing has to be kept for it but
which of it was sent (`tracking_state.py`). A run whose tracker was down has all of it where it was,
and the next run or `edgeline runs track` sends it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.local import folders, runs
from edgeline.local.page import PAGE
from edgeline.local.parameters import flat
from edgeline.local.redaction import redacted
from edgeline.local.runs import KeptRun
from edgeline.local.summary import metrics
from edgeline.local.tasks import DONE, TaskResult
from edgeline.local.tracking_state import LOCK, STATE, TrackingState, read, write
from edgeline.tracking.entries import (
    OURS,
    TrackedEntry,
    VersionToRegister,
    named,
    of_artifacts,
)
from edgeline.tracking.tracker import PARENT, Tracker

STATUS = {  # MLflow's, by a run's state; one that stopped has ended as it was asked to
    "running": "RUNNING",
    "succeeded": "FINISHED",
    "stopped": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}


def send(folder: Path, tracker: Tracker) -> TrackingState:
    """Send what a tracker does not have yet of a run, as its folder is now.

    Nothing happens where another process sends it.

    Raises:
        TrackerError: the tracker did not take something; what it took before is noted.
        EdgelineError: the record or an artifact is damaged.
    """
    with folders.locked(folder / LOCK) as own:
        state = read(folder)
        if state is None:
            raise EdgelineError(f"{folder} has no {STATE}: name a run that is tracked.")
        if not own:
            return state
        run = runs.read(folder)
        try:
            _send(run, state, tracker)
            state.reason = ""
        except EdgelineError as error:
            state.reason = str(redacted(str(error)))
            raise
        finally:
            write(folder, state)
        return state


def _send(run: KeptRun, state: TrackingState, tracker: Tracker) -> None:
    own = run.record
    started = _milliseconds(own["started"])
    if not state.run:
        tags = {**_tags(run), **({PARENT: state.parent} if state.parent else {})}
        state.run, state.place = tracker.run_of(
            state.key, state.experiment, run.name, started, tags
        )
        state.status = STATUS["running"]
        write(run.folder, state)
    now = STATUS[run.result.state]
    if now == STATUS["running"] != state.status:  # it goes on
        tracker.end(state.run, now, 0)
        state.status = now
    for entry in entries(run):
        if entry.key not in state.sent:
            tracker.log(state.run, entry)
            state.sent = (*state.sent, entry.key)
            write(run.folder, state)
    if now != STATUS["running"]:
        ended = own["ended"] or own["started"]  # of one that was killed nobody knows when
        tracker.end(state.run, now, _milliseconds(ended))
        state.status, state.complete = now, True


def entries(run: KeptRun) -> Iterator[TrackedEntry]:
    """All that is told of a run as it is now, in the order in which it came about."""
    own, attempt = run.record, len(run.record["attempts"])
    started = _milliseconds(own["attempts"][-1]["started"])
    params = {name: _text(value) for name, value in flat(own["parameters"]).items()}
    yield TrackedEntry(f"run/{attempt}", started, params=named(params), tags=_tags(run))
    for name, task in run.result.tasks.items():
        if task.state in DONE or task.state == "failed":
            entry = _of_task(name, task, started, _lineage(own))
            yield replace(entry, published=tuple(_for_others(run, entry.published)))
    state: str = run.result.state
    if state != "running":
        ended = _milliseconds(own["ended"] or own["attempts"][-1]["started"])
        tags = {f"{OURS}state": state}
        if own["error"] or attempt > 1:  # which takes back an earlier attempt's
            tags[f"{OURS}error"] = str(own["error"])
        files = {each: str(run.folder / each) for each in (folders.RECORD, PAGE)}
        there = {name: file for name, file in files.items() if Path(file).is_file()}
        yield TrackedEntry(f"end/{attempt}/{state}", ended, tags=tags, files=there)


def _of_task(name: str, task: TaskResult, started: int, lineage: Mapping[str, str]) -> TrackedEntry:
    began = _milliseconds(task.began) if task.began and task.state != "cached" else started
    when = began + round(1000 * task.seconds)
    key = f"task/{name}/{task.state}/{began}"
    if task.state == "failed":
        return TrackedEntry(
            key, when, tags=named({f"{OURS}error.{name}": str(redacted(task.error))})
        )
    numbers = {f"{name}/{key}": value for key, value in metrics(task).items()}
    if task.state != "cached":
        numbers[f"{name}/seconds"] = task.seconds
    places = {output: str(each["uri"]) for output, each in task.artifacts.items()}
    found = of_artifacts(key, when, name, places, places, f"{name}/")
    return TrackedEntry(
        key,
        when,
        metrics=named(numbers),
        curves=found.curves,
        tags=found.tags,
        files=found.files,
        data=found.data,
        published=tuple(replace(each, tags={**each.tags, **lineage}) for each in found.published),
    )


def _for_others(
    run: KeptRun, published: Iterable[VersionToRegister]
) -> Iterator[VersionToRegister]:
    """Published versions but for those of a sample, which lie beside the runs and are nobody's."""
    samples = run.folder.parent / folders.SAMPLES
    for each in published:
        if "://" in each.uri or not Path(each.uri).resolve().is_relative_to(samples.resolve()):
            yield each


def _tags(run: KeptRun) -> dict[str, str]:
    own: Mapping[str, Any] = run.record
    told = {
        "run": run.name,
        "pipeline": own["pipeline"],
        "pipeline_digest": own["pipeline_digest"],
        "edgeline": own["edgeline"],
        "code": own["code"],
        "host": own["host"]["name"],
    }
    tags = {f"{OURS}{name}": str(value) for name, value in told.items() if value}
    return named(
        {**tags, **_lineage(own), "mlflow.source.name": str(own["source"] or own["pipeline"])}
    )


def _lineage(own: Mapping[str, Any]) -> dict[str, str]:
    """The digests of what a run was given: its data, its modules, edgeline's own code."""
    pins = {f"{OURS}sha256.{name}": str(digest) for name, digest in own["pins"].items()}
    return named({**pins, f"{OURS}code": str(own["code"])})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _milliseconds(when: str) -> int:
    return round(datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp() * 1000)
