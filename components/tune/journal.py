"""Where a search's trials are kept, and how its workers know of each other.

Of a folder the kernel tells which worker is alive, of a database its server: in both a lock that
ends with the worker, however it ends.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import optuna

FILE, STUDY = "journal.log", "edgeline"  # Optuna's journal, and the study's name in it


class Journal(Protocol):
    """The trials of one search.

    Attributes:
        study: the search's name in Optuna's storage.
        place: the folder or the database, for people.
    """

    @property
    def study(self) -> str: ...
    @property
    def place(self) -> str: ...

    def storage(self) -> optuna.storages.BaseStorage:
        """Open it, as every process of a search does for itself; made where there is none.

        Raises:
            EdgelineError: it cannot be reached or made, or is damaged.
        """

    def turn(self) -> AbstractContextManager[None]:
        """Wait until no other worker has its turn, and have it."""

    def worker(self) -> AbstractContextManager[str]:
        """Be a worker, whose name tells the others whether it is alive."""

    def is_alive(self, worker: str) -> bool:
        """Whether a worker of another process is."""

    def copy(self, path: Path) -> None:
        """Write a journal file of all trials."""
