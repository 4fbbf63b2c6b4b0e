"""Files of a run on a server, where KFP's launcher put them: `.../RUN/TASK/EXECUTION/ARTIFACT`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.client.lineage import TaskArtifact
from edgeline.errors import EdgelineError
from edgeline.local.summary import numbers_in
from edgeline.stores import storage

# the folder of a task's execution; an imported artifact is not in one
EXECUTION = re.compile(r".*/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

OF_SLICES = "metrics.json"  # analyze's, with the rows of all slices first


@dataclass(frozen=True)
class StoredFile:
    """A file of a task's artifacts.

    Attributes:
        task: by its name in the pipeline; with a number where it ran several times.
        name: the last part of its path.
    """

    task: str
    name: str
    source: storage.LocatedFile


def files_of(artifacts: Iterable[TaskArtifact]) -> list[StoredFile]:
    """The files of artifacts, wherever they are: a cached task's are in an older run's folder.

    Raises:
        EdgelineError: a store cannot be read.
    """
    folders: dict[str, dict[int, set[str]]] = {}
    for artifact in artifacts:
        folder = _place(artifact.uri).rpartition("/")[0]
        if EXECUTION.fullmatch(folder):
            folders.setdefault(artifact.task, {}).setdefault(artifact.execution, set()).add(folder)
    return [
        StoredFile(task, source.location.rpartition("/")[2], source)
        for name, executions in folders.items()
        for task, key in zip(_numbered(name, len(executions)), sorted(executions), strict=True)
        for folder in sorted(executions[key])
        for source in _listed(folder)
    ]


def files_below(root: str, pipeline: str, run: str) -> list[StoredFile]:
    """The files in a run's own folder below the pipeline root.

    Raises:
        EdgelineError: the root is not known, or the store cannot be read.
    """
    if not root:
        raise EdgelineError(
            "Where are this run's artifacts? Give --host (in Python Client(host=...)) the address "
            "of Kubeflow's pages, which tells it, or --root (Client(root=...)) the pipeline root."
        )
    found: dict[str, dict[str, list[storage.LocatedFile]]] = {}
    for source in _listed(f"{_place(root).rstrip('/')}/{pipeline}/{run}"):
        task, _, rest = source.location.partition(f"/{run}/")[2].partition("/")
        execution = rest.partition("/")[0]
        found.setdefault(task, {}).setdefault(execution, []).append(source)
    return [
        StoredFile(task, source.location.rpartition("/")[2], source)
        for name, executions in found.items()
        for task, key in zip(_numbered(name, len(executions)), executions, strict=True)
        for source in executions[key]
    ]


def numbers_of(file: StoredFile) -> dict[str, float]:
    """The numbers that analyze found on all rows, or that another task's JSON has.

    Raises:
        EdgelineError: the file cannot be read, or is not JSON.
    """
    try:
        value = json.loads(text_of(file))
    except ValueError as error:
        raise EdgelineError(f"{file.source.location} is not JSON ({error}).") from error
    if file.name == OF_SLICES:
        try:
            whole = value["slices"][0]["metrics"]
            value = {name: entry["value"] for name, entry in whole.items()}
        except (LookupError, TypeError, AttributeError):
            pass  # another component's, in a form of its own
    return numbers_in(value) if isinstance(value, dict) else {}


def facts_of(file: StoredFile, schema: str) -> Mapping[str, Any]:
    """The facts of an artifact of a schema from its listing; none of one of another schema.

    Raises:
        EdgelineError: the file cannot be read, or is not JSON.
    """
    try:
        listing = json.loads(text_of(file))
    except ValueError as error:
        raise EdgelineError(f"{file.source.location} is not JSON ({error}).") from error
    if not isinstance(listing, dict) or listing.get("edgeline_schema") != schema:
        return {}
    return dict(listing.get("metadata", {}))


def text_of(file: StoredFile) -> str:
    """A file's text.

    Raises:
        EdgelineError: it cannot be read.
    """
    with storage.open_source(file.source) as stream:
        return stream.read().decode("utf-8", errors="replace")


def _place(uri: str) -> str:
    """A location without what KFP adds for its own client, such as `?endpoint=minio:9000`."""
    return uri.partition("?")[0]


def _listed(folder: str) -> list[storage.LocatedFile]:
    try:
        return storage.resolve([folder])
    except EdgelineError as error:
        if "names no file" in str(error):  # deleted, or not written yet
            return []
        raise


def _numbered(task: str, count: int) -> list[str]:
    return [task] if count == 1 else [f"{task}[{number}]" for number in range(count)]
