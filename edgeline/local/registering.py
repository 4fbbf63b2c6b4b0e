"""What a run has published, registered with Kubeflow: at its end, or later.

What is registered follows from the record and the bundles alone, so a file notes only where and
whether (`registry.json` in the run's folder). A run whose registry was down has all of it where it
was, and the next run or `edgeline runs register` registers it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeline.artifacts.folder import schema_of
from edgeline.errors import EdgelineError, UsageError
from edgeline.local import folders, runs, sent
from edgeline.local.runs import KeptRun
from edgeline.local.tasks import DONE
from edgeline.tracking import registering as beside
from edgeline.tracking.entries import OURS, VersionToRegister
from edgeline.tracking.registry import URL, RegistryAddress, address

STATE = "registry.json"
LOCK = ".registering"  # locked while a process registers
SCHEMA = "registry/v1"


@dataclass
class RegistryState:
    """What a registry has of a run.

    Attributes:
        registry: its address.
        registered: the versions that it has, each as `name version`.
        complete: whether it has all of a run that has ended.
        reason: why it has not; "" where nothing was refused.
    """

    registry: str
    registered: tuple[str, ...] = ()
    complete: bool = False
    reason: str = ""
    schema: str = SCHEMA


def read(folder: Path) -> RegistryState | None:
    """What a registry has of a run; None where none was named.

    Raises:
        EdgelineError: the file is damaged.
    """
    return sent.read(folder / STATE, RegistryState)


def _write(folder: Path, state: RegistryState) -> None:
    sent.write(folder / STATE, state)


def is_pending(folder: Path) -> bool:
    """Whether a registry has not got all of a run, which has ended."""
    return sent.is_pending(folder / STATE, RegistryState)


@contextlib.contextmanager
def registering(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Register what a run publishes in the block, at its end, and what earlier runs have left.

    Nothing happens where the environment names no registry. A run that is interrupted is left for
    later.

    Args:
        folder: of the run.
        say: gets what a person is told.

    Raises:
        UsageError: before the block: the environment names something else.
    """
    place = address()
    if place is None:
        yield
        return
    _write(folder, RegistryState(place.url, reason="The run was interrupted"))
    yield
    if said := _registered(folder):
        say(said)
    state = read(folder)
    if state and state.complete:
        for earlier in _pending(folder.parent, place.url):
            said = _registered(earlier)
            if is_pending(earlier):  # nor will it take the others
                break
            if said:
                say(f"{earlier.name}: {said}")


def register_one(run: KeptRun) -> str:
    """Register what a run has published, also where no registry was named then; what came of it.

    Raises:
        UsageError: no registry is named.
        EdgelineError: the run is running, or the registry did not take it.
    """
    if run.record["state"] == "running":
        raise EdgelineError(f"Run {run.name} is running, and registers at its end: wait for that.")
    _write(run.folder, RegistryState(_named().url))
    said = _registered(run.folder)
    if is_pending(run.folder):
        raise EdgelineError(
            said or f"Run {run.name} is registered by another process: wait for it."
        )
    return said


def register_pending(root: Path, say: Callable[[str], None]) -> int:
    """Register all that runs below a root have published and a registry has not got; of how many
    runs.

    Args:
        say: gets what is to be said of each.

    Raises:
        UsageError: no registry is named.
        EdgelineError: the registry did not take something.
    """
    count, failed = 0, ""
    for folder in _pending(root, _named().url):
        if not (said := _registered(folder)):  # of an interrupted run that has published nothing
            continue
        say(f"{folder.name}: {said}")
        if is_pending(folder):
            failed = f"{folder.name}: {said}"
        else:
            count += 1
    if failed:
        raise EdgelineError(f"Not every run was registered, as {failed}")
    return count


def versions_of(run: KeptRun) -> list[VersionToRegister]:
    """What a run has published, with the lineage that its record tells.

    Raises:
        EdgelineError: the run's copy of a bundle is gone, or damaged.
    """
    from edgeline.local import tracking  # with the artifacts' readers, which other runs do without

    for task in run.result.tasks.values():
        for name, output in task.artifacts.items() if task.state in DONE else ():
            is_bundle = str(output["metadata"].get("edgeline_schema", "")).startswith("bundle/")
            if is_bundle and not schema_of(str(output["uri"])):
                raise EdgelineError(
                    f"{output['uri']}, the copy of what was published ({name}), is gone: publish "
                    "it again."
                )
    return [each for entry in tracking.entries(run) for each in entry.published]


def _registered(folder: Path) -> str:
    """Register what a run has published; what came of it, as a sentence or ""."""
    with folders.locked(folder / LOCK) as own:
        state = read(folder)
        if state is None or not own:  # another process does so
            return ""
        try:
            found = versions_of(runs.read(folder))
            reason = beside.send(found) if found else ""
            state.reason = reason[:1].upper() + reason[1:]
        except EdgelineError as error:
            found, state.reason = [], str(error).rstrip(".")
        state.complete = not state.reason
        if state.complete:
            state.registered = tuple(
                f"{each.name} {each.tags.get(f'{OURS}version', '')}" for each in found
            )
        _write(folder, state)
    if state.complete and not state.registered:  # it has published nothing
        return ""
    if state.complete:
        return f"Registered: {', '.join(state.registered)} at {state.registry}"
    return (
        f"The registry has not got what this run published. {state.reason}. It is kept, and the "
        f"next run registers it, or `edgeline runs register {folder.name}`."
    )


def _named() -> RegistryAddress:
    place = address()
    if place is None:
        raise UsageError(f"Name a registry in {URL}, such as http://host:8080.")
    return place


def _pending(root: Path, url: str) -> list[Path]:
    """The folders of runs below a root that a registry has not got all of, the oldest first."""
    found = []
    for file in root.glob(f"*/{STATE}"):
        if is_pending(file.parent) and (state := read(file.parent)) and state.registry == url:
            found.append(file.parent)
    return sorted(found, key=lambda folder: folder.stat().st_mtime)
