"""Bundles in a folder of a file system.

A bundle is written to a hidden sibling, flushed to the disk and renamed: a rename onto a
folder that holds something fails, so of two publishers that race for a number one loses.
A publisher that is killed leaves its hidden sibling, which takes no number and which a later
publisher removes once it is a day old.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgeline.artifacts.bundle import MANIFEST, MODEL_SIGNATURE, Bundle, manifest_text
from edgeline.errors import EdgelineError
from edgeline.stores.signed import ROOTS

PARTIAL = ".partial-"
ABANDONED = 24 * 60 * 60  # seconds


@dataclass(frozen=True)
class FolderStore:
    """A store (see `edgeline.stores.store.Store`) below an absolute path."""

    root: Path

    def uri(self, name: str, version: int) -> str:
        return str(self.root / name / str(version))

    def versions(self, name: str) -> list[int]:
        try:
            return sorted(
                int(entry.name)
                for entry in (self.root / name).iterdir()
                if re.fullmatch("[1-9][0-9]*", entry.name) and (entry / MANIFEST).is_file()
            )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable(error) from error

    def manifest(self, name: str, version: int) -> bytes | None:
        return self._read(name, version, MANIFEST)

    def signature(self, name: str, version: int) -> bytes | None:
        return self._read(name, version, MODEL_SIGNATURE)

    def _read(self, name: str, version: int, file: str) -> bytes | None:
        try:
            return Path(self.uri(name, version), file).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def put(self, folder: Path, bundle: Bundle, digest: str) -> bool:  # noqa: ARG002
        place = Path(self.uri(bundle.name, bundle.version))
        if place.exists():
            return False
        partial = place.with_name(PARTIAL + uuid.uuid4().hex)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(place.parent)
            partial.mkdir()
            for path in bundle.files:
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                with open(folder / path, "rb") as stream:
                    _write_durably(stream, partial / path)
            _write_durably(io.BytesIO(manifest_text(bundle).encode()), partial / MANIFEST)
            partial.rename(place)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise self._unusable(error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return True

    def get(self, bundle: Bundle, folder: Path) -> None:
        for path in bundle.files:
            source = Path(self.uri(bundle.name, bundle.version), path)
            if source.is_file():  # the digests of the copy are checked, and so is its presence
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / path)

    def signed_repositories(self) -> tuple[str, str]:
        # where a link leads counts as well as where it lies
        above = dict.fromkeys(
            folder
            for place in (self.root, self.root.resolve())
            for folder in (place, *place.parents)
        )
        below: list[Path] = []
        with contextlib.suppress(OSError):
            below = sorted(self.root.iterdir())
        return _repository(above), _repository(below)

    def _unusable(self, error: OSError) -> EdgelineError:
        return EdgelineError(
            f"The destination {self.root} cannot be used ({error.strerror}): "
            "check the path, its permissions and the free space."
        )


def _repository(folders: Iterable[Path]) -> str:
    for folder in folders:
        with contextlib.suppress(OSError):  # a folder above that may not be looked into
            if any((folder / root).is_file() for root in ROOTS):
                return str(folder)
    return ""


def _write_durably(stream: BinaryIO, target: Path) -> None:
    with open(target, "xb") as writer:
        shutil.copyfileobj(stream, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _remove_abandoned(folder: Path) -> None:
    for partial in folder.glob(PARTIAL + "*"):
        try:
            abandoned = time.time() - partial.stat().st_mtime > ABANDONED
        except FileNotFoundError:  # its publisher has finished
            continue
        if abandoned:
            shutil.rmtree(partial, ignore_errors=True)
