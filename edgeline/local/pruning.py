"""How much runs take of the disk, and which of them may go.

A run stays where a process runs in it, where it is its pipeline's latest, where a run that stays
has taken results of it, and where its tracker or its registry has not got all of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.local import registering, tracking_state
from edgeline.local.folders import held, is_held
from edgeline.local.runs import KeptRun, kept
from edgeline.reports.report import size

LIMIT = 20_000_000_000  # bytes of all runs of a root, above which a run says so
SIZE = ".size"  # in a run's folder: its bytes when it last ended
GONE = ".removed-"  # begins the name of a folder that is being removed


@dataclass(frozen=True)
class Pruning:
    """What is to be removed, and what is not.

    remove: runs with their bytes, the oldest first.
    stays: reasons by the name of a run that was asked for, or would have had its turn.
    total: bytes of all that lies below the root now.
    """

    remove: Sequence[tuple[KeptRun, int]]
    stays: dict[str, str]
    total: int

    @property
    def freed(self) -> int:
        return sum(count for _, count in self.remove)


def note_size(folder: Path) -> None:
    """Note how much a run takes, when it has ended."""
    (folder / SIZE).write_text(f"{_walked(folder)}\n", "utf-8")


def size_of(folder: Path) -> int:
    """Bytes of a run, as they were noted when it ended, else counted."""
    try:
        return int((folder / SIZE).read_text("utf-8"))
    except (OSError, ValueError):
        return _walked(folder)


def total(root: Path) -> int:
    """Bytes of all that lies below a root: runs, the cache and checkpoints."""
    return sum(size_of(folder) for folder in _folders(root))


def warning(root: Path) -> str:
    """What to say where the runs below a root take more than `LIMIT`; "" where they do not."""
    taken = total(root)
    if taken <= LIMIT:
        return ""
    where = "" if root == Path("edgeline-runs") else f" --root {root}"
    return (
        f"The runs in {root} take {size(taken)}, more than {size(LIMIT)}: `edgeline runs "
        f"prune{where}` removes the oldest."
    )


def plan(root: Path, limit: int = LIMIT, names: Iterable[str] = ()) -> Pruning:
    """What may go: the runs of these names, or else the oldest until no more than `limit` is left.

    Args:
        limit: in bytes.
        names: of folders below `root`; none: the oldest.
    """
    runs = kept(root)
    names = list(names)
    taken = total(root)
    candidates = [run for run in reversed(runs) if not names or run.name in names]
    stays = {} if names else _latest(runs)
    if not names:  # of a tracker that is gone for good, a run goes by its name
        stays |= {
            run.name: "its tracker has not got all of it"
            for run in candidates
            if tracking_state.is_pending(run.folder)
        }
        stays |= {
            run.name: "its registry has not got what it published"
            for run in candidates
            if registering.is_pending(run.folder)
        }
    stays |= {run.name: "it is running" for run in candidates if is_held(run.folder)}
    remove = [run for run in candidates if run.name not in stays]
    left = taken
    if not names:
        chosen = []
        for run in remove:
            if left <= limit:
                break
            left -= size_of(run.folder)
            chosen.append(run)
        remove = chosen
    while users := _needed(runs, remove):  # who stays for another's sake may need a third one
        stays |= users
        remove = [run for run in remove if run.name not in users]
    return Pruning([(run, size_of(run.folder)) for run in remove], stays, taken)


def remove(root: Path, pruning: Pruning) -> None:
    """Remove what was planned, and entries of the cache that then lead nowhere.

    A run is renamed first, so that half of one is never taken for a run.

    Raises:
        EdgelineError: a run is running by now.
    """
    for run, _ in pruning.remove:
        gone = root / f"{GONE}{run.name}"
        with held(run.folder):
            run.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    for gone in root.glob(f"{GONE}*"):  # of one that was interrupted
        shutil.rmtree(gone, ignore_errors=True)
    for entry in root.glob(".cache/*/*"):
        if entry.suffix != ".json" or not _leads_somewhere(entry):
            entry.unlink(missing_ok=True)
    for folder in root.glob(".cache/*"):
        with contextlib.suppress(OSError):  # it is not empty
            folder.rmdir()


def _latest(runs: Sequence[KeptRun]) -> dict[str, str]:
    """The latest run of each pipeline."""
    found: dict[str, str] = {}
    for run in reversed(runs):
        found[run.record["pipeline"]] = run.name
    return {name: f"it is the latest of {pipeline}" for pipeline, name in found.items()}


def _needed(runs: Sequence[KeptRun], remove: Sequence[KeptRun]) -> dict[str, str]:
    """Which of some runs others need that stay, and who."""
    going = {run.folder: run.name for run in remove}
    return {
        going[folder]: f"{run.name} has taken results of it"
        for run in runs
        if run.folder not in going
        for folder in _used(run)
        if folder in going
    }


def _used(run: KeptRun) -> set[Path]:
    """The folders of runs that a run's artifacts lie in."""
    root = run.folder.parent
    found = set()
    for task in run.record["tasks"].values():
        for place in _places(task["outputs"]):
            with contextlib.suppress(ValueError, IndexError):  # it lies elsewhere
                found.add(root / Path(place).relative_to(root).parts[0])
    return found


def _places(value: Any) -> Iterator[str]:
    """The places of all artifacts in a JSON value."""
    if isinstance(value, dict):
        if isinstance(value.get("uri"), str) and "metadata" in value:
            yield value["uri"]
        for each in value.values():
            yield from _places(each)
    elif isinstance(value, list):
        for each in value:
            yield from _places(each)


def _leads_somewhere(entry: Path) -> bool:
    try:
        outputs = json.loads(entry.read_bytes())
    except (OSError, ValueError):
        return False
    return all("://" in place or Path(place).exists() for place in _places(outputs))


def _folders(root: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        yield from (each for each in root.iterdir() if each.is_dir() and not each.is_symlink())


def _walked(folder: Path) -> int:
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += Path(place, name).lstat().st_size
    return found
