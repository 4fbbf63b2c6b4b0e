"""A module of this room run in a process of its own, which may take its time in vain.

What the clients of servers import stays there, beside TensorFlow, and whatever becomes of it, who
asked for it goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PATIENCE = 120.0  # seconds that a task's or a run's end waits


def run(module: str, given: Any, *arguments: str) -> str:
    """Run a module to its end; why it failed, in its own last line, or "" where it did not.

    Args:
        module: its full name. It reads JSON from stdin, prints a sentence and ends with 1 where it
            fails.
        given: the JSON.
        *arguments: of its command line, which other users of the machine see.
    """
    try:
        ended = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {PATIENCE:.0f} s"
    if ended.returncode == 0:
        return ""
    said = ended.stdout.strip().splitlines()
    return said[-1].rstrip(".") if said else f"its process ended with {ended.returncode}"
