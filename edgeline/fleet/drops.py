"""Statuses from a folder or a bucket, where devices cannot reach the server itself.

A device writes two objects there and overwrites them: `NAME.status` and, once, `NAME.enroll`, each
with its signatures in front (see `protocol.dropped`). Who may write there can remove or hold back a
status, which makes a device stale, but can forge none. What is too large is not read to its end,
and objects are held one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeline.errors import EdgelineError, UsageError, first_line
from edgeline.fleet import admission
from edgeline.fleet.database import KeptError
from edgeline.formats import plain_file
from edgeline.server.errors import Code, ServingError
from edgeline.server.fleet.protocol import (
    DEVICE,
    ENROLL_SUFFIX,
    LARGEST,
    STATUS_SUFFIX,
    picked_up,
)
from edgeline.server.settings import DEVICE_NAME
from edgeline.stores import remote
from edgeline.stores.buckets import open_bucket
from edgeline.stores.endpoints import STORES
from edgeline.stores.objects import Objects

if TYPE_CHECKING:
    from edgeline.fleet.app import FleetApp

log = logging.getLogger("edgeline.fleet")
_NAME = re.compile(
    f"({DEVICE_NAME.pattern})({re.escape(STATUS_SUFFIX)}|{re.escape(ENROLL_SUFFIX)})"
)
_HEAD = 4096  # bytes that the lines in front of a body may have
_PIECE = 1 << 14  # bytes
_MOST = 2  # objects of each device that there may be
_AGAIN = ("unknown", "full", "unkept")  # may be taken with the next look


class DropFolder:
    """A place, and what of it was read. For one thread at a time.

    Attributes:
        left_out: objects that the last look has left out, since there were too many.
    """

    def __init__(self, folder: Path | None, bucket: Objects | None, prefix: str) -> None:
        self._folder, self._bucket, self._prefix = folder, bucket, prefix
        self._seen: dict[str, object] = {}
        self.left_out = 0

    def new(self, most: int) -> Iterator[tuple[str, bytes]]:
        """Names and contents that are new or have changed, enrolments first; of one that is too
        large, nothing.

        Args:
            most: objects that are looked at.

        Raises:
            EdgelineError: the place cannot be read.
        """
        found: dict[str, object] = {}
        self.left_out = 0
        for name, state in self._listed():
            if not _NAME.fullmatch(name):
                continue
            if len(found) < most:
                found[name] = state
            else:
                self.left_out += 1
        self._seen = {name: state for name, state in self._seen.items() if name in found}
        for name in sorted(found, key=lambda name: name.endswith(STATUS_SUFFIX)):
            if self._seen.get(name) == found[name]:
                continue
            content = self._read(name)
            if content is not None:
                self._seen[name] = found[name]
                yield name, content

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
            return self._streamed(self._prefix + name)
        assert self._folder is not None
        try:
            return plain_file.read(self._folder / name, LARGEST + _HEAD)
        except OSError as error:
            return b"" if error.errno == errno.EFBIG else None

    def _streamed(self, key: str) -> bytes | None:
        assert self._bucket is not None
        content = b""
        try:
            with contextlib.closing(self._bucket.stream(key)) as stream:
                while piece := stream.read(_PIECE):
                    content += piece
                    if len(content) > LARGEST + _HEAD:
                        return b""
        except Exception as error:  # of whichever client it is
            fault = remote.failure(key, error)
            if isinstance(fault, UsageError):
                return None  # it was removed this very moment
            raise fault from error
        return content


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
            results, new = Counter[str](), place.new(_MOST * app.most_devices)
            while (found := await asyncio.to_thread(next, new, None)) is not None:
                name, content = found
                came = await _hand_over(app, name, content)
                results[came] += 1
                if came in _AGAIN:
                    place.forget(name)
            if refused := results.total() - results["taken"]:
                some = dict(results.most_common(10))
                log.warning("%d of %d drops are not taken: %s.", refused, results.total(), some)
            if place.left_out:
                log.warning("%d drops are left out: raise --max-devices.", place.left_out)
        except EdgelineError as error:
            log.error("%s", error)
        except Exception:
            log.exception("The drops could not be read.")
        await asyncio.sleep(every)


async def _hand_over(app: FleetApp, name: str, content: bytes) -> str:
    """What came of an object: `taken`, or why not."""
    if not content:
        return "too large"
    try:
        headers, body = picked_up(content)
    except ValueError:
        return "malformed"
    device = name.removesuffix(STATUS_SUFFIX).removesuffix(ENROLL_SUFFIX)
    if headers.get(DEVICE.lower().encode()) != device.encode():
        return "malformed"
    try:
        await app.drop(headers, body, name.endswith(ENROLL_SUFFIX))
    except admission.UntakenStatusError as error:
        return error.result
    except KeptError as error:
        log.error("%s", error)
        return "unkept"
    except ServingError as error:
        return "full" if error.code is Code.RESOURCE_EXHAUSTED else first_line(error)
    return "taken"
