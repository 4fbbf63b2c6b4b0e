"""Rows of JSON lines in a folder or an object store, turned over by size and time.

    <place>/<model>/<version>/20261121T065746123456-1a2b.jsonl.gz

The file that is being written lies beside as `.partial`, uncompressed, so that what a kill leaves
behind is whole lines, which the next start finishes. A folder keeps `keep` bytes: the oldest files
go first. For an object store the folder is a temporary one, and a file leaves it when the store
has taken it.
"""

from __future__ import annotations

import gzip
import logging
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from edgeline.errors import at_path
from edgeline.server.tensors.json import dumps
from edgeline.stores.object_put import Bucket, bucket

log = logging.getLogger("edgeline.server")
PARTIAL, SUFFIX = ".jsonl.partial", ".jsonl.gz"
_AGAIN = 30.0  # seconds after an upload that failed


@dataclass
class _Open:
    stream: BinaryIO
    path: Path
    began: float
    size: int = 0


class PayloadFiles:
    """Writes rows, one open file per version of a model. For one thread."""

    def __init__(self, place: str, size: int, keep: int, every: float) -> None:
        """`place` is a folder or an object store's `scheme://bucket/prefix`.

        Raises:
            EdgelineError: it cannot be written to, or lacks its keys in the environment.
        """
        self._size, self._keep, self._every = size, keep, every
        self._open: dict[tuple[str, int], _Open] = {}
        self._bucket: Bucket | None = bucket(place) if "://" in place else None
        self._retry = 0.0
        try:
            self._root = Path(
                tempfile.mkdtemp(prefix="edgeline-payloads-") if self._bucket else place
            )
            self._root.mkdir(parents=True, exist_ok=True)
            for left in self._root.glob("*/*/*" + PARTIAL):
                _finish(left)
        except OSError as error:
            raise at_path(
                error,
                f"Payloads cannot be written to {place} ({error.strerror}): give another folder.",
            ) from error

    def write(self, model: str, version: int, rows: Iterable[Mapping[str, object]]) -> None:
        """Append rows; OSError where that fails."""
        opened = self._open.get((model, version)) or self._begin(model, version)
        data = b"".join(dumps(row) + b"\n" for row in rows)
        opened.stream.write(data)
        opened.size += len(data)
        if opened.size >= self._size:
            self._end((model, version))

    def turn(self) -> None:
        """End files that are old enough, upload what is finished, remove what is too much."""
        now = monotonic()
        for key, opened in list(self._open.items()):
            opened.stream.flush()
            if now - opened.began >= self._every:
                self._end(key)
        if self._bucket is not None and now >= self._retry:
            self._upload()

    def close(self, limit: float) -> None:
        """End every file, and upload what is finished for at most `limit` seconds."""
        for key in list(self._open):
            self._end(key)
        if self._bucket is not None:
            self._upload(monotonic() + limit)
            if not any(self._root.glob("*/*/*" + SUFFIX)):
                shutil.rmtree(self._root, ignore_errors=True)

    def _begin(self, model: str, version: int) -> _Open:
        folder = self._root / model / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f")
        path = folder / f"{now}-{secrets.token_hex(2)}{PARTIAL}"
        opened = self._open[model, version] = _Open(open(path, "ab"), path, monotonic())  # noqa: SIM115
        return opened

    def _end(self, key: tuple[str, int]) -> None:
        opened = self._open.pop(key)
        opened.stream.close()
        _finish(opened.path)
        self._make_room()

    def _make_room(self) -> None:
        files = sorted(self._root.glob("*/*/*" + SUFFIX), key=lambda file: file.name)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            if total <= self._keep:
                break
            total -= file.stat().st_size
            file.unlink()
            log.info("Payloads %s had to make room.", file.name)

    def _upload(self, until: float = float("inf")) -> None:
        assert self._bucket is not None
        for file in sorted(self._root.glob("*/*/*" + SUFFIX)):
            if monotonic() > until:
                return
            try:
                self._bucket.put(file.relative_to(self._root).as_posix(), file.read_bytes())
            except OSError as error:
                self._retry = monotonic() + _AGAIN
                log.warning("Payloads wait, as the object store takes none (%s).", error)
                return
            file.unlink()


def _finish(partial: Path) -> None:
    """Compress whole lines of a partial file into its final place; an empty one goes."""
    final = partial.with_name(partial.name.removesuffix(PARTIAL) + SUFFIX)
    beside = final.with_name(final.name + ".tmp")
    with open(partial, "rb") as source:
        lines = (line for line in source if line.endswith(b"\n"))
        with open(beside, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            for line in lines:
                packed.write(line)
    if partial.stat().st_size:
        beside.replace(final)
    else:
        beside.unlink()
    partial.unlink()
