"""The runs that are kept below a root: which there are, and which one a name means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, UsageError, did_you_mean, shortened
from edgeline.local import record as records
from edgeline.local.folders import RECORD
from edgeline.local.tasks import RunResult

LATEST = "latest"


@dataclass(frozen=True)
class KeptRun:
    """A run's folder with its record; see `edgeline.local.record`."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def result(self) -> RunResult:
        """The run with its tasks.

        Raises:
            EdgelineError: its record is damaged.
        """
        return records.restored(self.folder, self.record)

    @property
    def when(self) -> tuple[int, str, str]:
        """When it was last gone on with, for an order: by its number, as clocks may be set back;
        of an older edgeline by its time."""
        order = int(self.record.get("order", 0))
        return order, str(self.record["attempts"][-1]["started"]), self.name


def read(folder: Path) -> KeptRun:
    """The run in a folder.

    Raises:
        EdgelineError: there is none, or its record is damaged or of another edgeline.
    """
    run = KeptRun(folder.resolve(), records.read(folder))
    _ = run.result  # which tells of damage, and is kept
    return run


def kept(root: Path) -> list[KeptRun]:
    """All runs below a root that have a record that can be read, the newest first."""
    runs, _ = look(root)
    return runs


def look(root: Path) -> tuple[list[KeptRun], list[str]]:
    """As `kept`, and why each of the other runs cannot be read, a sentence each."""
    found, damaged = _looked(root)
    return found, [str(why) for why in damaged.values()]


def _looked(root: Path) -> tuple[list[KeptRun], dict[Path, EdgelineError]]:
    """As `kept`, and why each of the other runs cannot be read, by its folder."""
    found, unread = [], {}
    for file in sorted(root.glob(f"*/{RECORD}")):
        try:
            found.append(read(file.parent))
        except EdgelineError as error:  # of an older edgeline, or damaged
            unread[file.parent] = error
    return sorted(found, key=lambda run: run.when, reverse=True), unread


def named(root: Path, name: str, pipeline: str = "") -> KeptRun:
    """The run that a name means.

    Args:
        name: a run's folder, its name below `root`, a pipeline, whose latest run is meant, or
            `latest`.
        pipeline: the pipeline that `latest` is to be of; "" for any.

    Raises:
        UsageError: there is none.
        EdgelineError: its record is damaged or of another edgeline.
    """
    for folder in (root / name, Path(name)):
        if name != LATEST and (folder / RECORD).is_file():
            return read(folder)
    runs, damaged = _looked(root)
    wanted = pipeline if name == LATEST else name
    for run in runs:
        if not wanted or wanted in (run.record["pipeline"], run.record["source"]):
            _refuse_older(run, damaged, wanted)
            return run
    if name == LATEST:
        of = f" of {wanted}" if wanted else ""
        if alike := [why for folder, why in damaged.items() if _is_of(folder, wanted)]:
            raise EdgelineError(
                f"{str(alike[-1]).rstrip('.')}. It may be the latest run{of}, and no other is "
                "kept: remove its folder, or name the run that is meant."
            )
        raise UsageError(f"No run{of} is kept in {root}: `edgeline run PIPELINE` makes one.")
    known = [run.name for run in runs]
    hint = did_you_mean(name, known) if known else "There are none."
    raise UsageError(f"There is no run {shortened(name)!r} in {root}. {hint}")


def _refuse_older(run: KeptRun, damaged: Mapping[Path, EdgelineError], wanted: str) -> None:
    """Refuse a run as the latest where one that cannot be read was written later.

    Args:
        wanted: the pipeline that it is to be the latest of; "" for any. The folder of a run that
            cannot be read tells its pipeline: `<pipeline>-<time>`.

    Raises:
        EdgelineError: names both.
    """
    pipeline = run.record["pipeline"] if wanted else ""
    written = (run.folder / RECORD).stat().st_mtime
    for folder, why in damaged.items():
        if _is_of(folder, pipeline) and (folder / RECORD).stat().st_mtime > written:
            raise EdgelineError(
                f"{str(why).rstrip('.')}. It may be the latest run: name the one that is meant, "
                f"such as {run.name}."
            )


def _is_of(folder: Path, pipeline: str) -> bool:
    """Whether the folder of a run that cannot be read is called as those of a pipeline; "" for
    any."""
    return bool(re.fullmatch(rf"{re.escape(pipeline) or '.*'}-\d{{8}}-\d{{6}}.*", folder.name))
