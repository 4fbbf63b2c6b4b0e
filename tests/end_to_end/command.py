"""The command line as a user runs it, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    output: str
    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        """`run.json` of the newest run."""
        runs = sorted(self.folder.glob("edgeline-runs/*/run.json"), key=lambda f: f.stat().st_mtime)
        return json.loads(runs[-1].read_text())

    @property
    def page(self) -> Path:
        """The page of the newest run."""
        runs = self.folder.glob("edgeline-runs/*/index.html")
        return max(runs, key=lambda file: file.stat().st_mtime)


def edgeline(folder: Path, *arguments: str) -> Finished:
    command = [sys.executable, "-m", "edgeline", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400)
    return Finished(done.returncode, done.stdout + done.stderr, folder)
