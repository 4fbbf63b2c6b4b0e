"""Verified versions on a device's disk: each file once by its digest, a folder a version.

    STATE/files/<digest>             a file of any version
    STATE/files/<digest>.partial     a download that broke off; it goes on where it stopped
    STATE/models/<name>/<version>/   a bundle of hard links to files

A file gets its name when its digest is right, a version its folder when all its files are there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from edgeline.artifacts import sha256
from edgeline.artifacts.bundle import MANIFEST, Bundle
from edgeline.artifacts.folder import ALGORITHMS, algorithm_of, file_digest, is_of
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.server.updates.fetching import PIECE, Origin, UnreachableError, explained

RESERVE = 16 << 20  # bytes of the disk that updates leave free
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ATTEMPTS = 5  # without a new byte


class FullError(EdgelineError):
    """The disk is full."""


class RefusedVersionError(EdgelineError):
    """What came of a version is not what was signed, or more than this device takes."""


@dataclass(frozen=True)
class WantedFile:
    """A file of the repository, as its signed metadata says.

    Attributes:
        path: in the repository.
        digest: hexadecimal, of sha256 or, where the metadata has no such, of sha512.
        size: bytes.
    """

    path: str
    digest: str
    size: int


@dataclass(frozen=True)
class VersionStore:
    """Below a folder of one server's own."""

    state: Path

    @property
    def models(self) -> Path:
        """A store of bundles, as `sources` reads it."""
        return self.state / "models"

    @property
    def files(self) -> Path:
        """The files by digest."""
        return self.state / "files"

    def folder(self, name: str, version: int) -> Path:
        """Where a version is or would be."""
        return self.models / name / str(version)

    def install(
        self, place: Origin, manifest: WantedFile, name: str, version: int, limit: int
    ) -> int:
        """Bring a version to the disk, with only those files that no other version has.

        Args:
            place: where the repository is.
            manifest: of the version, as it is signed.
            name, version: which it has to be.
            limit: the largest size of all its files in bytes.

        Returns:
            The bytes that were fetched.

        Raises:
            UnreachableError: the connection broke; what was fetched is kept.
            FullError: the disk is full; what was fetched is removed.
            RefusedVersionError: a file is not what was signed, or the version is too large.
            EdgelineError: the disk or an archive is damaged.
        """
        with _disk():
            self.files.mkdir(parents=True, exist_ok=True)
            text, fetched = self._fetch(place, manifest)
            try:
                bundle = _bundle(text, name, version)
            except EdgelineError as error:
                raise RefusedVersionError(str(error)) from error
            base = manifest.path.rpartition("/")[0]
            wanted = [
                WantedFile(f"{base}/{path}", str(entry["sha256"]), int(entry["size"]))
                for path, entry in bundle.files.items()
            ]
            total = sum(file.size for file in wanted)
            if total > limit:
                raise RefusedVersionError(
                    f"{name} {version} has {total} bytes, above the limit of {limit}: raise "
                    "--max-update."
                )
            self._room(wanted)
            for file in wanted:
                fetched += self._fetch(place, file)[1]
            self._assemble(self.folder(name, version), bundle, manifest.digest)
        return fetched

    def intact(self, name: str, version: int, manifest: str, deep: bool) -> bool:
        """Whether a version is there and its manifest has this digest; `deep`: and each file."""
        folder = self.folder(name, version)
        try:
            if not is_of(folder / MANIFEST, manifest):
                return False
            bundle = _bundle(folder / MANIFEST, name, version)
            return all(
                (folder / path).stat().st_size == int(entry["size"])
                and (not deep or sha256(folder / path) == entry["sha256"])
                for path, entry in bundle.files.items()
            )
        except (OSError, EdgelineError):
            return False

    def versions(self) -> Iterator[tuple[str, int]]:
        """What is on the disk."""
        for folder in sorted(self.models.glob("*/*")):
            if folder.name.isdecimal():
                yield folder.parent.name, int(folder.name)

    def remove(self, name: str, version: int) -> None:
        """Remove a version; its files go with `prune`."""
        shutil.rmtree(self.folder(name, version), ignore_errors=True)

    def prune(self, partials: bool) -> int:
        """Remove the files of no version, half-made folders, and (if so) broken downloads.

        Returns:
            How many files were removed.
        """
        for partial in self.models.glob("*/.*"):
            shutil.rmtree(partial, ignore_errors=True)
        used = set()
        for name, version in self.versions():
            with contextlib.suppress(OSError, EdgelineError):
                manifest = self.folder(name, version) / MANIFEST
                bundle = _bundle(manifest, name, version)
                used |= {str(entry["sha256"]) for entry in bundle.files.values()}
                used |= {file_digest(manifest, algorithm) for algorithm in ALGORITHMS}
        unused = [
            file
            for file in self.files.glob("*")
            if file.name not in used and (partials or file.suffix != ".partial")
        ]
        for file in unused:
            file.unlink(missing_ok=True)
        return len(unused)

    def _room(self, wanted: list[WantedFile]) -> None:
        needed = sum(file.size - self._has(file) for file in wanted)
        free = shutil.disk_usage(self.files).free
        if needed + RESERVE > free:
            raise FullError(f"{needed} bytes are needed and {free} are free below {self.state}.")

    def _has(self, wanted: WantedFile) -> int:
        """Bytes of a file that are on the disk, as a broken download or all."""
        for name in (wanted.digest, f"{wanted.digest}.partial"):
            with contextlib.suppress(OSError):
                return min(wanted.size, (self.files / name).stat().st_size)
        return 0

    def _fetch(self, place: Origin, wanted: WantedFile) -> tuple[Path, int]:
        """A file by its digest, from the disk or from the repository; and the bytes fetched."""
        file = self.files / wanted.digest
        if file.exists():
            if file.stat().st_size == wanted.size and is_of(file, wanted.digest):
                return file, 0
            file.unlink()
        partial = file.with_name(file.name + ".partial")
        fetched, idle = 0, 0
        while True:
            before = partial.stat().st_size if partial.exists() else 0
            try:
                fetched += _download(place, wanted, partial)
                break
            except UnreachableError:
                after = partial.stat().st_size if partial.exists() else 0
                fetched += max(0, after - before)
                idle = 0 if after > before else idle + 1
                if idle >= _ATTEMPTS or not after:
                    raise
                if idle:  # a fleet must not hurry a server that is in trouble
                    time.sleep(random.uniform(0.5, 1.0) * 2 ** (idle - 1))
            except OSError as error:
                if error.errno in FULL:  # whoever needs the room gets it
                    partial.unlink(missing_ok=True)
                raise
        partial.replace(file)
        return file, fetched

    def _assemble(self, folder: Path, bundle: Bundle, manifest: str) -> None:
        partial = folder.with_name(f".{folder.name}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        entries = {path: str(entry["sha256"]) for path, entry in bundle.files.items()}
        for path, digest in {**entries, MANIFEST: manifest}.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self.files / digest, partial / path)
            except OSError as error:
                if error.errno in FULL:
                    raise
                shutil.copyfile(self.files / digest, partial / path)  # no links on this disk
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        for place in (folder.parent, self.files):
            _flush(place)


def _download(place: Origin, wanted: WantedFile, partial: Path) -> int:
    """Fetch what a partial file lacks; the bytes that came.

    What is there is read once more for the digest: its state cannot be stored.
    """
    digest = hashlib.new(algorithm_of(wanted.digest))
    with open(partial, "ab+") as file:
        file.seek(0)
        while piece := file.read(PIECE):
            digest.update(piece)
        have, fetched = file.tell(), 0
        if have > wanted.size:
            file.truncate(0)
            return _download(place, wanted, partial)
        if have < wanted.size or not wanted.size:
            stream, start = place.open(quote(wanted.path), have)
            with stream, explained(wanted.path):
                if start != have:  # the other side cannot go on in the middle
                    file.truncate(0)
                    digest, have = hashlib.new(algorithm_of(wanted.digest)), 0
                while piece := stream.read(PIECE):
                    have += len(piece)
                    fetched += len(piece)
                    if have > wanted.size:
                        break
                    file.write(piece)
                    digest.update(piece)
        if have < wanted.size:
            raise UnreachableError(f"{wanted.path} ended after {have} of {wanted.size} bytes.")
        file.flush()
        os.fsync(file.fileno())
    if have > wanted.size or digest.hexdigest() != wanted.digest:
        partial.unlink()
        raise RefusedVersionError(f"{wanted.path} is not the file that was signed: it was refused.")
    return fetched


def _bundle(manifest: Path, name: str, version: int) -> Bundle:
    value = typed.read(manifest)
    bundle = Bundle.from_json(value if isinstance(value, dict) else {})
    if (bundle.name, bundle.version) != (name, version):
        raise EdgelineError(
            f"The manifest of {name} {version} says {bundle.name} {bundle.version}: it was refused."
        )
    return bundle


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise FullError(f"The disk is full ({error.strerror}).") from error
        raise EdgelineError(f"The disk cannot be written ({error}).") from error


def _flush(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
