"""Where a signed repository lies: a folder, or below a prefix of a bucket.

One writer at a time: `lock` is a file lock in a folder. In a bucket it is a lease: a writer puts
an object below `metadata/.lock/`, lists, and has the lease if it sees no other that is fresh; so
of two that come at once none or one goes on, with nothing asked of the store but that it lists
what was just written. Ages are told by the store's clock alone. A writer that is killed is waited
for as long as a lease lasts.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgeline.errors import EdgelineError, at_path
from edgeline.stores.folder_store import FolderStore
from edgeline.stores.store import open_store

if TYPE_CHECKING:
    from edgeline.stores.object_store import ObjectStore

LEASE = 60.0  # seconds
PATIENCE = 120.0  # seconds
_LOCK = "metadata/.lock"


class Place(Protocol):
    """Files by their path in the repository. Each operation raises EdgelineError if it fails."""

    def __str__(self) -> str:
        """The path or address of the repository."""

    def read(self, path: str) -> bytes | None:
        """A file's content, None where there is none."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file; it appears whole or not at all."""

    def remove(self, path: str) -> None:
        """Remove a file; none there is as good."""

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Be the only writer."""


def open_place(destination: str) -> Place:
    """The place that a destination names: a folder, or an address as publish takes it.

    Raises:
        EdgelineError: see `edgeline.stores.store.open_store`.
    """
    store = open_store(destination)
    return Folder(store.root) if isinstance(store, FolderStore) else BucketPlace(store)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Folder:
    """A place below a folder."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def read(self, path: str) -> bytes | None:
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def write(self, path: str, content: bytes) -> None:
        file = self.root / path
        partial = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(file)
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            partial.unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        import fcntl

        file = self.root / _LOCK
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            stream = open(file, "ab")  # noqa: SIM115 - closed below
        except OSError as error:
            raise self._unusable(error) from error
        with stream:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise EdgelineError(
                            f"Another publisher has been writing to {self.root} for "
                            f"{PATIENCE:g} s: try again."
                        ) from None
                    time.sleep(random.uniform(0.01, 0.05))
            yield

    def _unusable(self, error: OSError) -> EdgelineError:
        return at_path(
            error,
            f"The repository {self.root} cannot be used ({error.strerror}): check the path, its "
            "permissions and the free space.",
        )


@dataclass(frozen=True)
class BucketPlace:
    """A place below a prefix of a bucket."""

    store: ObjectStore

    def __str__(self) -> str:
        return f"{self.store.scheme}://{self.store.bucket}/{self.store.prefix}"

    def read(self, path: str) -> bytes | None:
        return self.store.read(path)

    def write(self, path: str, content: bytes) -> None:
        # a cache before the bucket must not show old news; what has a number never changes
        lasting = re.fullmatch(r"metadata/\d+\.\w+\.json", path)
        cache_control = "max-age=31536000, immutable" if lasting else "no-cache"
        self.store.objects.write(self.store.key(path), content, cache_control)

    def remove(self, path: str) -> None:
        self.store.objects.remove(self.store.key(path))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        mine = f"{_LOCK}/{uuid.uuid4().hex}"
        end = time.monotonic() + PATIENCE
        while not self._leased(mine):
            if time.monotonic() > end:
                raise EdgelineError(
                    f"Another publisher has been writing to {self.store.bucket} for "
                    f"{PATIENCE:g} s: try again."
                )
            time.sleep(random.uniform(0.05, 0.5))
        since = time.monotonic()
        try:
            yield
        finally:
            self.remove(mine)
        if time.monotonic() - since > LEASE:
            raise EdgelineError(
                f"Writing to {self.store.bucket} took longer than {LEASE:g} s, and another "
                "publisher may have written meanwhile: look at the status and repeat."
            )

    def _leased(self, mine: str) -> bool:
        self.write(mine, b"")
        found = self.store.objects.below(self.store.key(_LOCK) + "/")
        times = {entry.key: entry.modified for entry in found}
        now = times.pop(self.store.key(mine))
        if any((now - other).total_seconds() < LEASE for other in times.values()):
            self.remove(mine)
            return False
        return True
