"""A folder that several machines read and write by its address.

| address                                    | where it is                                       |
|--------------------------------------------|---------------------------------------------------|
| a path, `file://`                          | a disk or volume that all of them have            |
| `s3://`, `gs://`, `abfs://`, `minio://`    | a store, with each machine's own keys or identity |
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from edgeline.errors import EdgelineError, UsageError
from edgeline.stores import remote
from edgeline.stores.again import again
from edgeline.stores.buckets import open_bucket
from edgeline.stores.endpoints import STORES
from edgeline.stores.objects import Objects

PARTIAL = ".partial-"


def local_path(uri: str) -> Path | None:
    """The path of a folder on a disk or volume; None for one in a store.

    Raises:
        UsageError: the address has a scheme that is not known.
    """
    scheme = remote.scheme(uri)
    if scheme == "file":
        return Path(unquote(uri[len("file://") :]))
    if not scheme:
        return Path(uri)
    if scheme not in STORES:
        raise UsageError(
            f"{remote.public(uri)} has the scheme {scheme}://, where nothing can be written: give "
            "s3://, gs://, abfs://, minio:// or file://."
        )
    return None


@dataclass(frozen=True)
class SharedFolder:
    """See above. Names are relative to it, with `/` between their parts.

    Every operation raises EdgelineError where the store or the disk refuses it, and is tried
    again where the store may answer in a moment.
    """

    uri: str

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which appears whole or not at all."""
        if (root := local_path(self.uri)) is None:
            bucket, key = self._place(name)
            return again(lambda: bucket.write(key, content))
        path = root / name
        partial = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise self._failure(error) from error
        return None

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where there is none."""
        if (root := local_path(self.uri)) is None:
            bucket, key = self._place(name)
            return again(lambda: bucket.read(key))
        try:
            return (root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure(error) from error

    def names(self, folder: str = "") -> list[str]:
        """The names of all files below a folder of it, sorted."""
        if (root := local_path(self.uri)) is not None:
            found = (each for each in (root / folder).rglob("*") if each.is_file())
            return sorted(
                each.relative_to(root).as_posix()
                for each in found
                if not each.name.startswith(PARTIAL)
            )
        bucket, base = self._place("")
        inside = f"{base}{folder}/" if folder else base
        return sorted(each.key.removeprefix(base) for each in again(lambda: bucket.below(inside)))

    def remove(self) -> None:
        """Remove all of it; what another machine still writes may stay."""
        if (root := local_path(self.uri)) is not None:
            shutil.rmtree(root, ignore_errors=True)
            return
        bucket, base = self._place("")
        for entry in again(lambda: bucket.below(base)):
            again(functools.partial(bucket.remove, entry.key))

    def _place(self, name: str) -> tuple[Objects, str]:
        scheme, _, path = self.uri.partition("://")
        bucket, _, prefix = path.partition("/")
        prefix = prefix.strip("/")
        return _bucket(scheme.lower(), bucket, os.getpid()), f"{prefix}/{name}" if prefix else name

    def _failure(self, error: OSError) -> EdgelineError:
        return EdgelineError(
            f"{self.uri} cannot be used ({error.strerror or error}): give a folder that this "
            "machine may write to."
        )


@functools.lru_cache(maxsize=8)
def _bucket(scheme: str, name: str, _process: int) -> Objects:
    """A client for each process: what a fork inherits would share its connections."""
    return open_bucket(scheme, name)
