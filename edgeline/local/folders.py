"""Where runs lie: a folder each below one root, held by the process that runs in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from edgeline.errors import EdgelineError, at_path

RECORD = "run.json"
LOCK = ".running"  # locked while a process runs in the folder; it holds that process' number
ORDER = ".order"  # in the root: how many attempts there were
SAMPLES = "samples"  # below the root: what runs on a sample publish
TRIES = 5


def new_folder(root: Path, name: str) -> Path:
    """A new folder `<name>-<time>` below `root`, which is made where it is missing.

    Raises:
        EdgelineError: none can be made there.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(100):
            folder = root / (f"{name}-{stamp}" + (f"-{number}" if number else ""))
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder.resolve()
    except OSError as error:
        raise at_path(
            error,
            f"Runs cannot be kept in {root} ({error.strerror}): name another folder with --root.",
        ) from error
    raise RuntimeError(f"no free folder for a run in {root}")


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run's folder: no other process runs in it, or removes it, meanwhile.

    The kernel lets go of it however this process ends.

    Raises:
        EdgelineError: another process holds it.
    """
    with open(folder / LOCK, "a+b", buffering=0) as stream:  # nothing is left for close
        if not any(_tries(stream.fileno())):
            stream.seek(0)
            number = stream.read().decode(errors="replace").strip()
            raise EdgelineError(
                f"Run {folder.name} is running{f' (process {number})' if number else ''}: wait "
                "until it has ended, or end it."
            )
        try:
            stream.truncate(0)
            stream.write(b"%d\n" % os.getpid())
        except OSError as error:
            raise at_path(
                error,
                f"Nothing can be written in {folder} ({error.strerror}): make room, or name "
                "another folder with --root.",
            ) from error
        yield


def next_order(root: Path) -> int:
    """A number that no attempt at a run below a root has had, and larger than all before it.

    Which run is the latest follows from it and not from the clock, which may be set back: what is
    the latest goes on with --resume, and what is the oldest may be removed.
    """
    with open(root / ORDER, "a+b") as stream:
        _wait_for(stream.fileno())
        stream.seek(0)
        try:
            last = int(stream.read())
        except ValueError:  # it is new, or damaged
            last = max((_order_of(file) for file in root.glob(f"*/{RECORD}")), default=0)
        stream.truncate(0)
        stream.write(b"%d\n" % (last + 1))
        return last + 1


def _order_of(file: Path) -> int:
    try:
        order = json.loads(file.read_bytes())["order"]
    except (OSError, ValueError, LookupError, TypeError):  # damaged, or of an older edgeline
        return 0
    return order if isinstance(order, int) else 0


def is_held(folder: Path) -> bool:
    """Whether a process runs in a run's folder."""
    return is_locked(folder / LOCK)


def is_locked(file: Path) -> bool:
    """Whether a process has a file locked."""
    try:
        with open(file, "rb") as stream:
            return not _lock(stream.fileno())
    except OSError:
        return False


@contextlib.contextmanager
def locked(file: Path) -> Iterator[bool]:
    """Whether this process alone has a file locked meanwhile; it does not wait for another one."""
    with locked_descriptor(file) as number:
        yield number is not None


@contextlib.contextmanager
def locked_descriptor(file: Path) -> Iterator[int | None]:
    """As `locked`: the file's descriptor, None where another process has it locked. A process that
    inherits it keeps the lock."""
    with open(file, "ab") as stream:
        yield stream.fileno() if _lock(stream.fileno()) else None


def remove_leftovers(folder: Path) -> None:
    """Drafts that a killed task of a run left beside its outputs; nothing reads them."""
    for pattern in ("*/*/*.partial", "*/*.partial", "*.partial"):
        for draft in folder.glob(pattern):
            shutil.rmtree(draft, ignore_errors=True) if draft.is_dir() else draft.unlink()


def _tries(file: int) -> Iterator[bool]:
    """Some tries to lock: whoever looks whether a run is held has it locked for that moment."""
    for _ in range(TRIES):
        yield _lock(file)
        time.sleep(0.02)


def _wait_for(file: int) -> None:
    with contextlib.suppress(ImportError, OSError):  # as in `_lock`
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def _lock(file: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: nobody looks whether another one runs
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: as above
        return True
    return True
