"""Statuses from a folder or a bucket, where devices cannot reach the server itself.

A device writes two objects there and overwrites them: `NAME.status` and, once, `NAME.enroll`, each
with its signatures in front (see `protocol.dropped`). Who may write there can remove or hold back a
status, which makes a device stale, but can forge none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeline.errors import EdgelineError, UsageError, first_line
from edgeline.fleet import admission
from edgeline.formats import plain_file
from edgeline.server.errors import ServingError
from edgeline.server.fleet.protocol import (
    DEVICE,
    ENROLL_SUFFIX,
    LARGEST,
    STATUS_SUFFIX,
    picked_up,
)
from edgeline.stores.buckets import open_bucket
from edgeline.stores.endpoints import STORES
from edgeline.stores.objects import Objects

if TYPE_CHECKING:
    from edgeline.fleet.app import FleetApp

log = logging.getLogger("edgeline.fleet")
_HEAD = 4096  # bytes that the lines in front of a body may have
_PAUSE_EVERY = 100  # objects, after which requests have their turn


class DropFolder:
    """A place, and what of it was read. For one thread at a time."""

    def __init__(self, folder: Path | None, bucket: Objects | None, prefix: str) -> None:
        self._folder, self._bucket, self._prefix = folder, bucket, prefix
        self._seen: dict[str, object] = {}

    def new(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents that are new or have changed, enrolments first.

        Raises:
            EdgelineError: the place cannot be read.
        """
        found = {
            name: state
            for name, state in self._listed()
            if name.endswith((STATUS_SUFFIX, ENROLL_SUFFIX))
        }
        for name in sorted(found, key=lambda name: name.endswith(STATUS_SUFFIX)):
            if self._seen.get(name) == found[name]:
                continue
            content = self._read(name)
            if content is not None:
                yield name, content
        self._seen = found

    def forget(self, name: str) -> None:
        """Read an object again with the next look."""
        self._seen.pop(name, None)

    def _listed(self) -> Iterator[tuple[str, object]]:
        if self._bucket is not None:
            for entry in self._bucket.below(self._prefix):
                yield entry.key[len(self._prefix) :], entry.modified
            return
        assert self._folder is not None
        try:
            for file in self._folder.iterdir():
                state = file.stat()
                yield file.name, (state.st_mtime_ns, state.st_ino)
        except FileNotFoundError:
            return  # one was replaced this very moment: the next look sees it
        except OSError as error:
            why = f"--drops {self._folder} cannot be read ({error.strerror})."
            raise EdgelineError(why) from error

    def _read(self, name: str) -> bytes | None:
        if self._bucket is not None:
            content = self._bucket.read(self._prefix + name)
            return content if content is None or len(content) <= LARGEST + _HEAD else b""
        assert self._folder is not None
        try:
            return plain_file.read(self._folder / name, LARGEST + _HEAD)
        except OSError:
            return None


def open_drops(place: str) -> DropFolder:
    """A folder, or `s3://`, `gs://`, `abfs://` or `minio://bucket/prefix`.

    Raises:
        UsageError: it is not one.
        EdgelineError: the environment has no keys for it.
    """
    if "://" not in place:
        if not Path(place).is_dir():
            raise UsageError(f"--drops {place} is not a folder: make it first.")
        return DropFolder(Path(place), None, "")
    parts = urlsplit(place)
    if parts.scheme not in STORES or not parts.netloc:
        raise UsageError(f"--drops is {place}: give a folder or s3://bucket/prefix.")
    prefix = parts.path.strip("/")
    bucket = open_bucket(parts.scheme, parts.netloc)
    return DropFolder(None, bucket, f"{prefix}/" if prefix else "")


async def follow(place: DropFolder, app: FleetApp, every: float) -> None:
    """Look into a place again and again, and hand what is new to the server."""
    while True:
        try:
            found = await asyncio.to_thread(lambda: list(place.new()))
            results = Counter[str]()
            for number, (name, content) in enumerate(found):
                results[_hand_over(app, name, content)] += 1
                if number % _PAUSE_EVERY == 0:
                    await asyncio.sleep(0)
            if refused := sum(results.values()) - results["taken"]:
                log.warning("%d of %d drops are not taken: %s.", refused, len(found), dict(results))
        except EdgelineError as error:
            log.error("%s", error)
        except Exception:
            log.exception("The drops could not be read.")
        await asyncio.sleep(every)


def _hand_over(app: FleetApp, name: str, content: bytes) -> str:
    """What came of an object: `taken`, or why not."""
    try:
        headers, body = picked_up(content)
    except ValueError:
        return "malformed"
    device = name.removesuffix(STATUS_SUFFIX).removesuffix(ENROLL_SUFFIX)
    if headers.get(DEVICE.lower().encode()) != device.encode():
        return "malformed"
    try:
        app.drop(headers, body, name.endswith(ENROLL_SUFFIX))
    except admission.UntakenStatusError as error:
        return error.result
    except ServingError as error:
        return first_line(error)
    return "taken"
