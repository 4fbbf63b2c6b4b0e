"""Which worker of a search is alive, and whose turn it is, as the kernel tells by locks of files.

POSIX locks: a process' own, which its children do not have, on NFS too; gone when it ends, however.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from edgeline.errors import EdgelineError

WORKERS, TURN = "workers", "turn.lock"


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Wait until no other process has its turn in a folder, and have it.

    Raises:
        EdgelineError: the folder's file system has no such locks.
    """
    with open(folder / TURN, "a", encoding="utf-8") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX)
        except OSError as error:
            raise EdgelineError(
                f"{folder} lies where files cannot be locked ({error.strerror}): name a folder of "
                "another file system as study_folder."
            ) from error
        yield


@contextlib.contextmanager
def worker(folder: Path) -> Iterator[str]:
    """Be a worker, whose name tells the others whether it is alive."""
    place = folder / WORKERS
    place.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    with open(place / name, "w", encoding="utf-8") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        try:
            yield name
        finally:
            (place / name).unlink(missing_ok=True)


def is_alive(folder: Path, name: str) -> bool:
    """Whether a worker of another process is; one that is not is forgotten."""
    file = folder / WORKERS / name
    try:
        with open(file, "r+", encoding="utf-8") as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
