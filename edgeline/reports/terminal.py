"""What commands print tables on: as wide as the terminal; in a file or a pipe nothing is cut."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.console import Console

WIDTH_OF_FILES = 250  # columns; rich takes 80, which breaks lines that a program reads


def console(stream: TextIO | None = None) -> Console:
    """A console on a stream, by default stdout as it is now; COLUMNS sets another width."""
    stream = stream or sys.stdout
    free = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(file=stream, width=WIDTH_OF_FILES if free else None, emoji=False)
