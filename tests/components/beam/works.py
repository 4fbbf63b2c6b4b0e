"""Work for the tests, which Beam's workers import."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeline.beam.spreading import Rows
from edgeline.errors import EdgelineError


@dataclass(frozen=True)
class Counting:
    """Counts a slice's rows, and tells where: the folder that the process runs in.

    deadly: whether the first process that comes to the third slice is killed there.
    refused: a part of the name of the slice that is refused, or "".
    """

    deadly: bool = False
    refused: str = ""

    def load(self, files: Path) -> Callable[[Rows, str], bytes]:
        given = (files / "word").read_text()

        def count(rows: Rows, where: str) -> bytes:
            if self.refused and self.refused in where:
                raise EdgelineError(f"{where}: a row that nobody wants.")
            counted = sum(batch.num_rows for batch in rows)
            marker = Path("killed-once")
            if self.deadly and "from 200" in where and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return f"{given} {counted} {Path.cwd()}".encode()

        return count
