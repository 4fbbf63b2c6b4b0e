"""What a task in a pod tells MLflow, sent by a process of its own, which may take its time in vain.

    python -m edgeline.tracking.sending RUN < ENTRY

MLflow is imported there alone, beside the task's TensorFlow, and whatever becomes of it, the task
stays as it ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

from edgeline.errors import EdgelineError, first_line
from edgeline.formats import typed
from edgeline.tracking.entries import TrackedEntry
from edgeline.tracking.tracker import Tracker, without_unused

URI, RUN = "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"
PATIENCE = 120.0  # seconds that a task's end waits for its tracker


def send(entry: TrackedEntry) -> str:
    """Send an entry to the run that the environment names; why not, or "" where it was sent."""
    command = [sys.executable, "-m", "edgeline.tracking.sending", os.environ[RUN]]
    try:
        ended = subprocess.run(
            command,
            input=json.dumps(asdict(entry)),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f"the tracker took longer than {PATIENCE:.0f} s"
    if ended.returncode == 0:
        return ""
    said = ended.stdout.strip().splitlines()
    return said[-1].rstrip(".") if said else f"its process ended with {ended.returncode}"


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
