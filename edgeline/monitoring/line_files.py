"""Files of JSON lines in a place: a file, a folder, or the folder of a bucket.

`.gz` files are decompressed while they are read, and none is read beyond `MOST_BYTES`.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgeline.errors import EdgelineError, UsageError
from edgeline.stores.endpoints import STORES
from edgeline.stores.objects import Objects

# what a file that is cut short or damaged raises while it is read
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
ENDINGS = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
MOST_BYTES = 1 << 30  # of a file, decompressed


class LargeFileError(EdgelineError):
    """A file has more than `MOST_BYTES`."""


@dataclass(frozen=True)
class LineFile:
    """A file of JSON lines.

    Attributes:
        name: its path or address, printable.
        state: what changes when it does.
        modified: when it was last written, in seconds since 1970.
        open: gives a context with its stream; raises what a disk or a store does.
    """

    name: str
    state: object
    modified: float
    open: Callable[[], Any]


def printable(name: object) -> str:
    """A name that anybody may have given, as text that every file and page can hold: JSON lets a
    name have half a surrogate pair, which UTF-8 does not."""
    return str(name).encode(errors="backslashreplace").decode()


def files_of(place: str) -> Iterator[LineFile]:
    """The files of a place, ordered by name; of a folder and a bucket those with `ENDINGS`.

    Raises:
        EdgelineError: the bucket cannot be looked through.
    """
    if "://" in place:
        yield from _objects(place)
        return
    root = Path(place)
    for file in [root] if root.is_file() else sorted(root.rglob("*")):
        if file.is_file() and (file == root or file.name.endswith(ENDINGS)):
            state = file.stat()
            opened = partial(gzip.open if file.name.endswith(".gz") else open, file, "rb")
            yield LineFile(
                printable(file), (state.st_size, state.st_mtime_ns), state.st_mtime, opened
            )


def lines_in(stream: Any, longest: int) -> Iterator[bytes]:
    """Lines of a file, however long it takes them to end; an endless one comes in pieces.

    Args:
        longest: bytes of a piece.

    Raises:
        LargeFileError: it has more than `MOST_BYTES`.
    """
    buffered = stream if isinstance(stream, io.BufferedIOBase) else io.BufferedReader(stream)
    read = 0
    while line := buffered.readline(longest):
        read += len(line)
        if read > MOST_BYTES:
            raise LargeFileError(f"it has more than {MOST_BYTES:,} bytes: divide it")
        yield line


def check_place(place: str, setting: str) -> None:
    """Refuse a place that cannot be read from, as far as nobody is asked for that.

    Args:
        setting: that names it.

    Raises:
        UsageError: it is not such a place, or does not exist.
        EdgelineError: the environment has no keys for it.
    """
    scheme = urlsplit(place).scheme if "://" in place else ""
    if scheme and scheme not in STORES:
        raise UsageError(
            f"{setting} is {place}: give a file or a folder of JSON lines, or s3://, gs://, "
            "abfs:// or minio://bucket/prefix."
        )
    if scheme:
        bucket(place)
    elif not Path(place).exists():
        raise UsageError(f"{setting} is {place}, which does not exist: create it first.")


def bucket(place: str) -> Objects:
    """The bucket of an address."""
    from edgeline.stores.buckets import open_bucket

    parts = urlsplit(place)
    return open_bucket(parts.scheme, parts.netloc)


def _objects(place: str) -> Iterator[LineFile]:
    parts = urlsplit(place)
    objects = bucket(place)
    folder = parts.path.strip("/")
    for entry in objects.below(folder + "/" if folder else ""):
        if entry.key.endswith(ENDINGS):
            yield LineFile(
                printable(f"{parts.scheme}://{parts.netloc}/{entry.key}"),
                entry.modified,
                entry.modified.timestamp(),
                partial(_object, objects, entry.key),
            )


@contextlib.contextmanager
def _object(objects: Objects, key: str) -> Iterator[Any]:
    stream = objects.stream(key)
    try:
        yield gzip.GzipFile(fileobj=stream) if key.endswith(".gz") else _ObjectStream(stream)
    finally:
        stream.close()


class _ObjectStream(io.RawIOBase):
    """An object's stream, read by lines."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
