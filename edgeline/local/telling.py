"""A run is told to its tracker by a process beside it, which imports MLflow and waits for answers.

    python -m edgeline.local.telling FOLDER

It has a low priority, so that it takes what the tasks leave of the processors. A line on
stdin says that the run has got on, and the end of stdin, however that comes, that it has ended.
Then it sends the rest, and what the tracker has not got of earlier runs below the same root.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.errors import EdgelineError, UsageError
from edgeline.extras import install_hint
from edgeline.local import tracking_state
from edgeline.local.redaction import redacted
from edgeline.local.runs import KeptRun

if TYPE_CHECKING:
    from edgeline.tracking.tracker import Tracker

PATIENCE = 300.0  # seconds after the run's end; large bundles on slow lines take some
ENDED = "The process that sends it took too long, or was ended."


@dataclass
class Telling:
    """The process that tells a tracker of a run; None where it has none."""

    folder: Path
    process: subprocess.Popen[str] | None = None

    def look(self) -> None:
        """Have it look at the run's folder again."""
        if self.process and self.process.stdin:
            with contextlib.suppress(OSError):  # it has ended, and the rest is sent later
                self.process.stdin.write("\n")
                self.process.stdin.flush()

    def end(self) -> str:
        """Wait until the tracker has the rest, or cannot take it; what is to be said of it."""
        if not self.process:
            return ""
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        except OSError:  # it has ended before
            self.process.wait()
        try:
            return outcome(self.folder)
        except EdgelineError as error:  # its file is damaged: the run itself is not
            return str(error)


def outcome(folder: Path) -> str:
    """What a tracker has of a run, in a sentence.

    Raises:
        EdgelineError: `tracking.json` is damaged.
    """
    state = tracking_state.read(folder)
    if state is None:
        return ""
    if state.complete:
        return f"Tracked: {state.link}"
    return (
        f"The tracker has not got all of this run. {state.reason or ENDED} It is kept, and the "
        f"next tracked run sends it, or `edgeline runs track {folder.name}`."
    )


@contextlib.contextmanager
def telling(folder: Path, uri: str, pipeline: str, say: Callable[[str], None]) -> Iterator[Telling]:
    """Tell a tracker of a run as long as the block lasts, and of its end.

    Args:
        folder: of the run.
        uri: the tracker's; "" for that of MLFLOW_TRACKING_URI, or none.
        pipeline: its name, which the experiment gets.
        say: gets what a person is told, at the end.
    """
    place = uri or os.environ.get(tracking_state.URI, "")
    if not place:
        yield Telling(folder)
        return
    tracking_state.begin(folder, place, pipeline)
    if not tracking_state.is_installed():
        say(f"This run is kept, and not sent to {redacted(place)}. {missing()}")
        yield Telling(folder)
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeline.local.telling", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # what libraries print may have the address with a password
        env={**os.environ, tracking_state.URI: place},  # which other users do not see, as arguments
        text=True,
        start_new_session=True,  # Ctrl-C is the run's, whose end this tells
    )
    told = Telling(folder, process)
    try:
        yield told
    finally:
        say(told.end())


def check() -> None:
    """Refuse a tracker where nothing can be sent.

    Raises:
        UsageError: mlflow is not installed.
    """
    if not tracking_state.is_installed():
        raise UsageError(f"{missing()}.")


def missing() -> str:
    """The sentence that says how mlflow is installed."""
    return install_hint(ModuleNotFoundError(name="mlflow"))


def send_one(run: KeptRun, uri: str) -> None:
    """Send a run, also one that was not tracked.

    Args:
        uri: the tracker's; "" for that of MLFLOW_TRACKING_URI, or that it was told to.

    Raises:
        UsageError: no tracker is named, or mlflow is not installed.
        EdgelineError: the run is running, or the tracker did not take something.
    """
    check()
    if run.record["state"] == "running":
        raise EdgelineError(f"Run {run.name} is running, and is sent at its end: wait for that.")
    state = tracking_state.read(run.folder)
    place = uri or os.environ.get(tracking_state.URI, "") or (state.tracker if state else "")
    if not place:
        raise UsageError(
            f"Name a tracker for run {run.name}: --track URI, or {tracking_state.URI}."
        )
    from edgeline.local import tracking
    from edgeline.tracking.tracker import Tracker

    tracking_state.begin(run.folder, place, str(run.record["pipeline"]))
    tracking.send(run.folder, Tracker(place))


def send_pending(root: Path, uri: str, say: Callable[[str], None]) -> int:
    """Send all runs below a root that their trackers have not got all of; how many they then have.

    Args:
        uri: of the tracker whose runs are sent; "" for that of MLFLOW_TRACKING_URI, or each run's.
        say: gets what is to be said of each.

    Raises:
        UsageError: mlflow is not installed.
        EdgelineError: a tracker did not take something.
    """
    check()
    from edgeline.local import tracking
    from edgeline.tracking.tracker import Tracker

    given = uri or os.environ.get(tracking_state.URI, "")
    count, failed = 0, ""
    for folder, tracker in _pending(root, given):
        try:
            tracking.send(folder, Tracker(tracker))
        except EdgelineError as error:
            failed = f"{folder.name}: {error}"
            say(failed)
            continue
        count += 1
        say(f"{folder.name}: {outcome(folder)}")
    if failed:
        raise EdgelineError(f"Not every run was sent, as {failed}")
    return count


def _pending(root: Path, given: str) -> Iterator[tuple[Path, str]]:
    """Runs that are not sent, each with its tracker's address: that which is given, where it is the
    same but for what no record keeps."""
    for folder in tracking_state.pending(root):
        state = tracking_state.read(folder)
        if state and (not given or state.tracker == redacted(given)):
            yield folder, given or state.tracker


def main() -> None:
    from edgeline.tracking.tracker import Tracker, without_unused

    without_unused()
    folder, uri = Path(sys.argv[1]), os.environ[tracking_state.URI]
    with contextlib.suppress(AttributeError, OSError):
        os.nice(5)
    try:
        tracker = Tracker(uri)
    except (EdgelineError, ImportError) as error:
        _note(folder, str(redacted(str(error))))
        return
    refused = False
    for _ in sys.stdin:
        if not refused:  # else once more, at the end
            refused = not _sent(folder, tracker)
    if _sent(folder, tracker):
        for earlier, _ in _pending(folder.parent, uri):
            if not _sent(earlier, tracker):  # nor will it take the others
                return


def _sent(folder: Path, tracker: Tracker) -> bool:
    from edgeline.local import tracking
    from edgeline.tracking.tracker import TrackerError

    try:
        tracking.send(folder, tracker)
    except TrackerError:
        return False
    except EdgelineError:  # noted, and not the tracker's fault
        return True
    return True


def _note(folder: Path, reason: str) -> None:
    state = tracking_state.read(folder)
    if state:
        state.reason = reason
        tracking_state.write(folder, state)


if __name__ == "__main__":
    main()
