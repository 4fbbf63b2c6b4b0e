"""A file or folder, wherever it lies, as a path on this machine."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edgeline.stores import remote, storage


def bring(location: str, folder: Path) -> tuple[Path, list[storage.File]]:
    """The path of what a location names: where it lies, or in `folder` what was copied there.

    Returns:
        the file, or the folder with all its files below their own names; and these files.

    Raises:
        UsageError: the location names nothing.
        EdgelineError: it cannot be read, or is not what its pin says.
    """
    place = location.partition(remote.PIN)[0]
    sources = storage.resolve([location])
    files = storage.fetch(sources, folder)
    if remote.scheme(sources[0].location):
        return _laid_out(place, files, folder / "copy"), files
    return _where(place, sources[0]), files


@contextlib.contextmanager
def here(location: str) -> Iterator[Path]:
    """The path of what a location names, as long as the block runs.

    A path on this machine without a pin stays as it is, whether there is anything or not.

    Raises:
        EdgelineError: as `bring`.
    """
    if not remote.scheme(location) and remote.PIN not in location:
        yield Path(location)
        return
    with tempfile.TemporaryDirectory(prefix="edgeline-") as folder:
        yield bring(location, Path(folder))[0]


def _where(place: str, first: storage.LocatedFile) -> Path:
    """The local file, or the folder of local files, that a location names."""
    path = Path(first.location)
    if path.name == PurePosixPath(place).name:
        return path
    return path.parents[len(PurePosixPath(first.name).parts) - 1]


def _laid_out(place: str, files: list[storage.File], folder: Path) -> Path:
    """Fetched files under their own names: one file, or a folder of them."""
    base = remote.public(place).rstrip("/")
    target = folder
    for file in files:
        inner = file.name.removeprefix(base).lstrip("/")
        target = folder / (inner or base.rpartition("/")[2])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file.path, target)
    return folder if inner else target
