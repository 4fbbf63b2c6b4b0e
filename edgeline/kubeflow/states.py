"""The states of runs and tasks as edgeline tells them, of a server and on this machine alike."""

from __future__ import annotations

from typing import Literal

# on this machine, stopped: a condition was false; interrupted: its process was ended
RunState = Literal[
    "running", "succeeded", "failed", "stopped", "skipped", "canceled", "interrupted"
]
# canceled: by a person, with its run; unknown: of a run on a server that no longer tells
TaskState = Literal[
    "waiting", "running", "succeeded", "cached", "failed", "canceled", "skipped", "unknown"
]
