"""What a tracker has of a run: `tracking.json` in the run's folder, and whose turn it is to send.

It is looked at by each run, tracked or not, so it imports neither MLflow nor numpy.
"""

from __future__ import annotations

import importlib.util
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from edgeline.local import sent
from edgeline.local.redaction import redacted

STATE = "tracking.json"
LOCK = ".tracking"  # locked while a process sends
SCHEMA = "tracking/v1"
URI, RUN, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"


@dataclass
class TrackingState:
    """What a tracker has of a run.

    Attributes:
        tracker: its address, without user, password and query.
        key: of the run, by which the tracker is asked for it.
        experiment: the name of MLflow's experiment.
        parent: MLflow's run that this one belongs to; "" for none.
        run, place: MLflow's identifiers of the run and of its experiment; "" until it is there.
        status: that MLflow was told last.
        sent: keys of entries that it has.
        complete: whether it has all of a run that has ended.
        reason: why it has not; "" where nothing was refused.
    """

    tracker: str
    key: str
    experiment: str
    parent: str = ""
    run: str = ""
    place: str = ""
    status: str = ""
    sent: tuple[str, ...] = ()
    complete: bool = False
    reason: str = ""
    schema: str = SCHEMA

    @property
    def link(self) -> str:
        """Where people see it; its address and identifier where that is not a web page."""
        if self.tracker.startswith(("http://", "https://")):
            return f"{self.tracker.rstrip('/')}/#/experiments/{self.place}/runs/{self.run}"
        return f"{self.tracker}, run {self.run}"


def is_installed() -> bool:
    """Whether mlflow can be imported here."""
    return importlib.util.find_spec("mlflow") is not None


def begin(folder: Path, uri: str, pipeline: str) -> TrackingState:
    """Note that a run is to be told to a tracker, where that has not been noted yet.

    Args:
        uri: the tracker's, with what it may hold of credentials, which are not noted.
    """
    state = read(folder)
    if state is None or state.tracker != redacted(uri):
        name = os.environ.get(EXPERIMENT) or pipeline
        parent = os.environ.get(RUN, "")
        state = TrackingState(redacted(uri), uuid.uuid4().hex, name, parent)
    state.complete = False
    write(folder, state)
    return state


def read(folder: Path) -> TrackingState | None:
    """What a tracker has of a run; None where it is not tracked.

    Raises:
        EdgelineError: the file is damaged.
    """
    return sent.read(folder / STATE, TrackingState)


def write(folder: Path, state: TrackingState) -> None:
    sent.write(folder / STATE, state)


def is_pending(folder: Path) -> bool:
    """Whether a tracker has not got all of a run, which has ended."""
    return sent.is_pending(folder / STATE, TrackingState)


def pending(root: Path) -> list[Path]:
    """The folders of runs below a root that a tracker has not got all of, the oldest first."""
    found = [file.parent for file in root.glob(f"*/{STATE}") if is_pending(file.parent)]
    return sorted(found, key=lambda folder: folder.stat().st_mtime)
