"""A compiler that is a program: run to its end, or ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from edgeline.runtimes import limits

__all__ = ["EndedProgram", "run"]


@dataclass(frozen=True)
class EndedProgram:
    """How a program ended: `code` is negative where a signal ended it; stdout and stderr."""

    code: int
    output: str

    @property
    def how(self) -> str:
        """A phrase: `failed with exit code 1`, `was killed by SIGSEGV`."""
        if self.code < 0:
            return f"was killed by {signal.Signals(-self.code).name}"
        return f"failed with exit code {self.code}"

    @property
    def last_error(self) -> str:
        """The line that says what went wrong, without its full stop."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        errors = [line for line in lines if "rror:" in line] or lines or ["it said nothing"]
        return errors[-1][:300].rstrip(".:")


def run(command: Sequence[str], memory: int) -> EndedProgram:
    """Run a program in a process group of its own, which is killed however this call ends.

    Args:
        memory: bytes that it, and each that it starts, may take (see `limits.converter_room`).
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    limits.memory_of(process.pid, memory)
    try:
        output, _ = process.communicate()
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return EndedProgram(process.returncode, output)
