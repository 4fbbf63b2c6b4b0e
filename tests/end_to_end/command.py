"""The command line as a user runs it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# as README prints it: with the compilers that are quickest
DIGITS_RUN = ("run", "digits", "--cache", "--set", 'targets=["ethos-u55", "tflite-micro"]')


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    output: str
    folder: Path
    run: Path | None  # the newest run's folder when the command had ended

    @property
    def record(self) -> dict[str, Any]:
        """`run.json` of the run."""
        assert self.run, self.output
        return json.loads((self.run / "run.json").read_text())

    @property
    def page(self) -> Path:
        """The page of the run."""
        assert self.run, self.output
        return self.run / "index.html"


def edgeline(folder: Path, *arguments: str) -> Finished:
    command = [sys.executable, "-m", "edgeline", *arguments]
    temporary = folder / "tmp"  # short: sockets lie below it
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=400, env=environment
    )
    records = folder.glob("edgeline-runs/*/run.json")
    newest = max(records, key=lambda file: file.stat().st_mtime_ns, default=None)
    run = newest.parent if newest else None
    return Finished(done.returncode, done.stdout + done.stderr, folder, run)
