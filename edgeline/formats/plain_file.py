"""Files that others name, read whole: pipes would be waited for, and huge files fill the memory."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

LARGEST = 64 << 20  # bytes
FILE, FOLDER = "a file", "a folder"


def read(path: str | Path, largest: int = LARGEST) -> bytes:
    """The content of a regular file.

    Args:
        largest: bytes that are taken for what the file is to be.

    Raises:
        OSError: it cannot be read, is another kind of file or is larger; `strerror` says which.
    """
    state = Path(path).stat()
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if state.st_size > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest >> 20} MiB", str(path))
    return Path(path).read_bytes()


def read_text(path: str | Path, largest: int = LARGEST) -> str:
    """The content of a regular file that is UTF-8.

    Raises:
        OSError: as `read`.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read(path, largest).decode("utf-8")


def kind(path: str | Path) -> str:
    """What lies at a path, in words, as FILE and FOLDER; "" where nothing does or can."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError) as error:  # a NUL is not a path's
        return "a link to itself" if getattr(error, "errno", 0) == errno.ELOOP else ""
    if stat.S_ISREG(mode):
        return FILE
    if stat.S_ISDIR(mode):
        return FOLDER
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
