"""Whether a file is another one than it was."""

from __future__ import annotations

import os

FileState = tuple[int, int, int]


def seen(file: str) -> FileState | None:
    """When it was written, its size in bytes and its number; None where there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116  # of thousands of files
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
