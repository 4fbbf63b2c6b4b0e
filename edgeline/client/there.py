"""Runs of a KFP server as those of this machine are told: in a list, and as records."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgeline.artifacts import write_text
from edgeline.client import stored
from edgeline.client.remote import METRICS, RemoteRun
from edgeline.errors import EdgelineError
from edgeline.kubeflow import versions
from edgeline.kubeflow.api import asking
from edgeline.kubeflow.run_tasks import FIRST_YEAR, run_state
from edgeline.local.plan import plan
from edgeline.local.record import SCHEMA
from edgeline.local.redaction import redacted
from edgeline.local.runs import KeptRun
from edgeline.tracking.entries import OURS

if TYPE_CHECKING:
    from kfp import Client as KfpClient

    from edgeline.tracking.registry import RegistryAddress

MOST = 50  # runs in a list: the newest
NOT_TOLD = "not told"


def listed(server: KfpClient) -> list[dict[str, Any]]:
    """The newest runs of a server or namespace, as a list tells them.

    Raises:
        EdgelineError: the server does not answer, or refuses.
    """
    found = asking(lambda: server.list_runs(page_size=MOST, sort_by="created_at desc").runs)
    return [
        {
            "run": str(run.run_id),
            "name": str(run.display_name),
            "state": run_state(run),
            "started": _time(run.created_at),
            "seconds": _seconds(run),
        }
        for run in found or ()
    ]


def fetched(server: KfpClient, run: str, root: str, folder: Path) -> KeptRun:
    """A run of a server as a record, with what its evaluations found in a folder of this machine.

    Args:
        run: its identifier.
        root: the pipeline root, where the server does not tell it; "" where it does.
        folder: of the runs that are fetched.

    Where files of the run cannot be read, its numbers are missing, and `unread` of the record
    says which and why.

    Raises:
        EdgelineError: the server does not know it, or tells nothing of its pipeline.
    """
    found = asking(lambda: server.get_run(run))
    spec = _spec(server, found)
    remote = _remote(server, run, spec, root)
    name = remote.pipeline
    place = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '-', str(found.display_name))}-{run[:8]}"
    place.mkdir()
    tasks: dict[str, dict[str, Any]] = {
        key: {
            "state": task.state,
            "began": "",
            "seconds": task.seconds,
            "cpu_seconds": 0.0,
            "peak_memory": 0,
            "error": task.error,
            "again": "",
            "log": None,
            "outputs": {},
            "digests": {},
            "plan": dataclasses.asdict(task.task),
        }
        for key, task in remote.tasks.items()
    }
    unread = _read_numbers(remote, tasks, place)
    started = _time(found.created_at)
    record = {
        "schema": SCHEMA,
        "pipeline": name,
        "source": name,
        "folder": "",
        "given": {},
        "left_out": [],
        "pins": {},
        "cache": True,
        "docker": False,
        "parameters": redacted(dict(getattr(found.runtime_config, "parameters", None) or {})),
        "pipeline_digest": versions.digest([spec]),
        "edgeline": NOT_TOLD,
        "code": NOT_TOLD,
        "packages": {},
        "host": {
            **dict.fromkeys(("name", "system", "machine", "cpus", "python"), NOT_TOLD),
            "name": server._get_url_prefix(),
            "memory": None,
        },
        "state": run_state(found),
        "error": "",
        "unread": unread,
        "started": started,
        "tasks": tasks,
        "seconds": _seconds(found),
        "attempts": [{"started": started, "state": run_state(found)}],
    }
    return KeptRun(place, record)


def track(server: KfpClient, run: str, root: str, uri: str) -> list[str]:
    """Tell a tracker what tasks of a server's run could not, as it was down: those tasks' names.

    Args:
        run, root: see `fetched`.
        uri: the tracker's address.

    Raises:
        EdgelineError: the server, the store or the tracker does not answer; or the run goes on.
    """
    from edgeline.client import tracking
    from edgeline.tracking.tracker import Tracker

    pipeline, started, files = _ended(server, run, root)
    return tracking.send(files, run, pipeline, started, Tracker(uri))


def register(server: KfpClient, run: str, root: str, place: RegistryAddress) -> list[str]:
    """Register what tasks of a server's run have published, as the registry was down; the versions
    that it has, each as `name version`.

    Args:
        run, root: see `fetched`.

    Raises:
        EdgelineError: the server, the store or the registry does not answer; or the run goes on.
    """
    from edgeline.client import tracking
    from edgeline.tracking import registry

    _, started, files = _ended(server, run, root)
    versions = tracking.versions_of(files, started)
    registry.register(place, versions)
    return [f"{each.name} {each.tags.get(f'{OURS}version', '')}" for each in versions]


def _ended(server: KfpClient, run: str, root: str) -> tuple[str, int, Iterator[stored.StoredFile]]:
    """The pipeline of a run that has ended, when it began in milliseconds since 1970, and the files
    of its tasks but of those from the cache."""
    from edgeline.client import tracking

    found = asking(lambda: server.get_run(run))
    if (state := run_state(found)) == "running":
        raise EdgelineError(
            f"Run {run} is {state}, and its tasks tell themselves: wait for its end."
        )
    remote = _remote(server, run, _spec(server, found), root)
    cached = [task.task.name for task in remote.tasks.values() if task.state == "cached"]
    started = round(1000 * found.created_at.timestamp()) if found.created_at else 0
    return remote.pipeline, started, tracking.not_cached(remote._files(), cached)


def _remote(server: KfpClient, run: str, spec: Mapping[str, Any], root: str) -> RemoteRun:
    name = str(spec.get("pipelineInfo", {}).get("name", ""))
    return RemoteRun(server, run, name, plan(_message(spec)), root, Console(quiet=True))


def _read_numbers(remote: RemoteRun, tasks: dict[str, dict[str, Any]], place: Path) -> str:
    """Put the numbers of a run's files into its tasks' outputs; what could not be read, and why."""
    unread: dict[str, EdgelineError] = {}
    try:
        files = remote._files()
    except EdgelineError as error:
        return f"Its files cannot be read, so its numbers are missing here: {error}"
    for file in files:
        own = tasks.get(file.task.partition("[")[0])
        if own is None or file.name not in METRICS:
            continue
        try:
            own["outputs"] |= dict(_outputs(file, place))
        except EdgelineError as error:
            unread[f"{file.name} of {file.task}"] = error
    if not unread:
        return ""
    first = next(iter(unread.values()))
    return f"Not read, so their numbers are missing here: {', '.join(unread)}. {first}"


def _outputs(file: stored.StoredFile, place: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a file of numbers is as outputs of its task."""
    numbers: Mapping[str, float] = stored.numbers_of(file)
    yield f"{file.task}-metrics", {"uri": "", "metadata": dict(numbers)}
    if file.name == stored.OF_SLICES:
        folder = place / file.task
        folder.mkdir()
        write_text(folder / file.name, stored.text_of(file))
        yield "evaluation", {"uri": str(folder), "metadata": {"edgeline_schema": "evaluation/v1"}}


def _spec(server: KfpClient, run: Any) -> dict[str, Any]:
    """The pipeline of a run, which its version has where the run itself does not."""
    spec, version = run.pipeline_spec, run.pipeline_version_reference
    if not spec and version:
        place = (version.pipeline_id, version.pipeline_version_id)
        spec = asking(lambda: server.get_pipeline_version(*place).pipeline_spec)
    if not spec:
        raise EdgelineError(f"The server does not tell which pipeline run {run.run_id} is of.")
    return dict(versions.pipeline_of(spec))


def _message(spec: Mapping[str, Any]) -> Any:
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    return json_format.ParseDict(dict(spec), pipeline_spec_pb2.PipelineSpec())


def _time(when: datetime | None) -> str:
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") if when else ""


def _seconds(run: Any) -> float:
    """How long a run took, or has gone on for; 0 where that is not told."""
    if not run.created_at:
        return 0.0
    ended = run.finished_at
    if ended is None or ended.year < FIRST_YEAR:
        ended = datetime.now(timezone.utc)
    return round(float((ended - run.created_at).total_seconds()), 1)
