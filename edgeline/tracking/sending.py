"""What a task in a pod tells MLflow, sent by a process of its own (`beside.py`).

python -m edgeline.tracking.sending RUN < ENTRY
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict

from edgeline.errors import EdgelineError, first_line
from edgeline.formats import typed
from edgeline.tracking import beside
from edgeline.tracking.entries import TrackedEntry
from edgeline.tracking.tracker import Tracker, without_unused

URI, RUN = "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"


def send(entry: TrackedEntry) -> str:
    """Send an entry to the run that the environment names; why not, or "" where it was sent."""
    return beside.run("edgeline.tracking.sending", asdict(entry), os.environ[RUN])


def main() -> int:
    entry: TrackedEntry = typed.convert(typed.parse(sys.stdin.read(), "the entry"), TrackedEntry)
    without_unused()
    try:
        Tracker(os.environ[URI]).log(sys.argv[1], entry)
    except EdgelineError as error:
        print(error)
        return 1
    except ImportError as error:
        print(f"this image has no MLflow ({first_line(error)})")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
