"""A search's journal in a folder, which workers of one machine or of several share.

Which worker is alive, and whose turn it is, the kernel tells by locks of files. POSIX locks: a
process' own, which its children do not have, on NFS too; gone when it ends, however.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.components.tune import journal
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import optuna

WORKERS, TURN = "workers", "turn.lock"


@dataclass(frozen=True)
class FolderJournal:
    """A folder, which holds one search."""

    folder: Path

    @property
    def study(self) -> str:
        return journal.STUDY

    @property
    def place(self) -> str:
        return str(self.folder)

    def storage(self) -> optuna.storages.BaseStorage:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        file = self.folder / journal.FILE
        _cut_torn_line(file)
        return JournalStorage(JournalFileBackend(str(file)))

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Have one's turn.

        Raises:
            EdgelineError: the folder cannot be made, or its file system has no such locks.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgelineError(
                f"{self.folder} cannot be made ({error.strerror}): name another folder as "
                "study_folder."
            ) from error
        with open(self.folder / TURN, "a", encoding="utf-8") as stream:
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX)
            except OSError as error:
                raise EdgelineError(
                    f"{self.folder} lies where files cannot be locked ({error.strerror}): name a "
                    "folder of another file system as study_folder."
                ) from error
            yield

    @contextlib.contextmanager
    def worker(self) -> Iterator[str]:
        place = self.folder / WORKERS
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

    def is_alive(self, worker: str) -> bool:
        """One that is not is forgotten."""
        file = self.folder / WORKERS / worker
        try:
            with open(file, "r+", encoding="utf-8") as stream:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink(missing_ok=True)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def copy(self, path: Path) -> None:
        shutil.copyfile(self.folder / journal.FILE, path)


def _cut_torn_line(file: Path) -> None:
    """Remove a last line without an end, which a killed process or a full disk left: what is
    written behind it could not be read."""
    if not file.is_file():
        return
    content = file.read_bytes()
    if content and not content.endswith(b"\n"):
        with open(file, "r+b") as stream:
            stream.truncate(content.rfind(b"\n") + 1)
