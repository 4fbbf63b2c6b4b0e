"""A server's run told to MLflow or registered afterwards, as its tasks could not: it was down.

All that a task in a pod tells follows from its artifacts, which lie in the run's store. So nothing
has to be kept for it: the artifacts are read again, and logged as the task would have done
(`edgeline.kubeflow.tracked`). What MLflow has already is not sent again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeline.artifacts.folder import LISTING, schema_of
from edgeline.client.stored import EXECUTION, StoredFile
from edgeline.errors import EdgelineError
from edgeline.stores import storage
from edgeline.tracking.entries import EPOCHS, TrackedEntry, VersionToRegister, of_pod
from edgeline.tracking.tracker import Tracker

LISTED = (LISTING, EPOCHS)  # what is told of any folder; of a bundle all of it is


def send(
    files: Iterable[StoredFile], run: str, pipeline: str, started: int, tracker: Tracker
) -> list[str]:
    """Send what a run's tasks have made; the tasks that the tracker now has and had not before.

    Args:
        files: of the run's tasks, without those of tasks that were taken from the cache.
        run: its identifier on the KFP server.
        started: in milliseconds since 1970, which curves get as their time.

    Raises:
        EdgelineError: the store or the tracker does not answer, or refuses.
    """
    sent = []
    for task, entry in _entries(files, started):
        if not entry.is_empty and tracker.log_task(run, pipeline, task, entry):
            sent.append(task)
    return sent


def versions_of(files: Iterable[StoredFile], started: int) -> list[VersionToRegister]:
    """What a run's tasks have published.

    Args:
        files, started: see `send`.

    Raises:
        EdgelineError: the store does not answer, or refuses.
    """
    return [each for _, entry in _entries(files, started) for each in entry.published]


def _entries(files: Iterable[StoredFile], started: int) -> Iterator[tuple[str, TrackedEntry]]:
    """What each task tells, whose files are on this machine until the next one's turn."""
    by_task: dict[str, list[StoredFile]] = {}
    for file in files:
        by_task.setdefault(file.task, []).append(file)
    for task, own in by_task.items():
        with tempfile.TemporaryDirectory(prefix="edgeline-tracking-") as folder:
            yield task, entry_of(own, started, Path(folder))


def entry_of(files: Iterable[StoredFile], started: int, folder: Path) -> TrackedEntry:
    """What the artifacts of one task tell, read into a folder."""
    artifacts: dict[str, tuple[str, dict[str, StoredFile]]] = {}
    for file in files:
        if not (execution := EXECUTION.match(file.source.location)):
            continue
        above = execution.group()
        name, _, rest = file.source.location[len(above) + 1 :].partition("/")
        artifacts.setdefault(name, (f"{above}/{name}", {}))[1][rest] = file
    places: dict[str, str] = {}
    for name, (_, found) in artifacts.items():
        place = folder / name
        _copy({rest: file for rest, file in found.items() if rest in ("", *LISTED)}, place)
        if schema_of(place).startswith("bundle/"):
            _copy(found, place)
        places[name] = str(place)
    uris = {name: uri for name, (uri, _) in artifacts.items()}
    return of_pod(started, places, uris)


def not_cached(files: Iterable[StoredFile], cached: Iterable[str]) -> Iterator[StoredFile]:
    """Files of tasks that ran in this run: those of others were told by the run that made them."""
    names = set(cached)
    return (file for file in files if file.task.partition("[")[0] not in names)


def _copy(files: dict[str, StoredFile], place: Path) -> None:
    for rest, file in files.items():
        target = place / rest if rest else place
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with storage.open_source(file.source) as stream, open(target, "wb") as copy:
                while piece := stream.read(1 << 20):
                    copy.write(piece)
        except OSError as error:
            raise EdgelineError(
                f"{file.source.name} cannot be read ({error.strerror}): is the run's store there?"
            ) from error
