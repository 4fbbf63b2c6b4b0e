"""What commands print tables on: as wide as the terminal; in a file or a pipe nothing is cut."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from rich.console import Console

WIDTH_OF_FILES = 250  # columns; rich takes 80, which breaks lines that a program reads


class UnreadConsole(Console):
    """A console that falls silent once nobody reads it, as behind `| head`.

    What prints on it goes on: a run is not ended by it, and its record and page have the rest.
    """

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with open(os.devnull, "wb") as nowhere, contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere.fileno(), self.file.fileno())  # for Python's own flush at the end


def console(stream: TextIO | None = None) -> Console:
    """A console on a stream, by default stdout as it is now; COLUMNS sets another width."""
    stream = stream or sys.stdout
    free = not stream.isatty() and "COLUMNS" not in os.environ
    return UnreadConsole(file=stream, width=WIDTH_OF_FILES if free else None, emoji=False)
