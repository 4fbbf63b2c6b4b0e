"""The objects of one bucket, whatever store keeps it: all that publish and ingest ask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 30.0  # seconds
RETRIES = 2


@dataclass(frozen=True)
class ObjectEntry:
    """An object in a listing; `modified` by the store's clock."""

    key: str
    modified: datetime


class Objects(Protocol):
    """A bucket. What may be done twice may be repeated: each operation is made once.

    Every operation raises PassingError where the store may answer in a moment, and EdgelineError
    where it refuses.
    """

    def read(self, key: str) -> bytes | None:
        """The content of a small object, None where there is none."""

    def write(self, key: str, content: bytes, cache_control: str = "") -> None:
        """Write a small object, which appears whole or not at all."""

    def upload(self, key: str, file: Path) -> None:
        """Write a file of any size as an object, which appears whole or not at all."""

    def download(self, key: str, file: Path) -> None:
        """Write an object of any size into a file."""

    def below(self, folder: str) -> list[ObjectEntry]:
        """Every object whose key begins with a folder's, which ends in a slash; "" for all."""

    def folders(self, prefix: str) -> list[str]:
        """The beginnings that keys below a folder have in common, with a slash at their ends; none
        where one may not look."""

    def has(self, key: str) -> bool:
        """Whether there is such an object; false where one may not know."""

    def remove(self, key: str) -> None:
        """Remove an object; none there is as good."""

    def stream(self, key: str) -> Any:
        """An object as `read(size)` and `close()`.

        This and `keys` are for who reads, and raise what `edgeline.stores.remote.failure` knows.
        """

    def keys(self, prefix: str) -> list[str]:
        """The key itself if there is such an object, and all below it."""
