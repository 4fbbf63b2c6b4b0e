"""What models a path holds: a bundle, a model's versions, a store, or bare `.tflite` files.

    bundle/manifest.json                        one version of one model
    <name>/<version>/...                        one model of a store, as it is laid out below
    store/<name>/<version>/manifest.json        what `publish` writes
    store/<name>/<version>/<any>.tflite         as TensorFlow Serving lays models out
    models/<name>.tflite                        bare files, each version 1
    <name>.tflite

A store may name versions in `<name>/labels.json`: {"stable": 3, "canary": 4}.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from edgeline.artifacts.bundle import MANIFEST
from edgeline.errors import EdgelineError, UsageError, at_path
from edgeline.formats import typed
from edgeline.formats.tflite import MOST_BYTES
from edgeline.server.digits import whole

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LABELS = "labels.json"
log = logging.getLogger("edgeline.server")


@dataclass(frozen=True)
class VersionSource:
    """One version of a model on disk.

    `fingerprint` changes when its files do. `digest` is what its manifest has to have,
    empty where nobody has signed for it. `fault` says why it cannot even be looked at; the version
    is 0 where that cannot be told.
    """

    name: str
    version: int
    path: Path
    fingerprint: tuple[int, ...]
    digest: str = ""
    fault: str = ""


class Catalogue(Protocol):
    """Where a server finds the versions that it may serve."""

    def find(self) -> dict[str, dict[int, VersionSource]]:
        """What there is now, by name and version; called by a thread.

        Raises:
            EdgelineError: it cannot be read.
        """

    def labels(self, name: str) -> dict[str, int]:
        """The labels of a model's versions."""


def is_empty(root: Path) -> bool:
    """Whether a path is a folder to which nothing was ever put: no file is below it, apart from
    hidden ones and a volume's `lost+found`."""
    if not root.is_dir():
        return False
    for _, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name[0] != "." and name != "lost+found"]
        if any(name[0] != "." for name in files):
            return False
    return True


@dataclass(frozen=True)
class FolderCatalogue:
    """All that a path holds."""

    root: Path

    def find(self) -> dict[str, dict[int, VersionSource]]:
        """See `find`."""
        return find(self.root)

    def labels(self, name: str) -> dict[str, int]:
        """See `labels`."""
        return labels(self.root, name)


def find(root: Path) -> dict[str, dict[int, VersionSource]]:
    """Sources by name and version; folders that are not (yet) models are left out.

    Raises:
        UsageError: the path is missing or is itself no model that can be served.
        EdgelineError: it is a bundle whose manifest is malformed.
    """
    found: dict[str, dict[int, VersionSource]] = {}
    try:
        if not root.exists():
            raise UsageError(f"{root} is missing: give a bundle, a store of bundles or a .tflite.")
        for source in _sources(root):
            found.setdefault(source.name, {})[source.version] = source
    except OSError as error:
        raise at_path(
            error, f"{error.filename or root} cannot be read ({error.strerror})."
        ) from error
    return found


def labels(root: Path, name: str) -> dict[str, int]:
    """The labels of a model's versions; none where the file is missing or broken."""
    file = (root if _is_model(root) else root / name) / LABELS
    try:
        if not os.path.lexists(file):
            return {}
        value = typed.read(file)
        if isinstance(value, dict):  # "3" is as good as 3
            numbers = {n: whole(v) for n, v in value.items() if isinstance(v, str)}
            value |= {n: number for n, number in numbers.items() if number is not None}
        found: dict[str, int] = typed.convert(value, Mapping[str, int])
        return found
    except (OSError, EdgelineError) as error:
        _say(f"{file} is malformed ({error}): the model has no labels.")
        return {}


def _sources(root: Path) -> Iterator[VersionSource]:
    if root.is_file():
        if root.suffix != ".tflite":
            raise UsageError(f"{root} is not a model: give a bundle, a store or a .tflite file.")
        if not _NAME.fullmatch(root.stem):
            raise UsageError(
                f"{root} cannot name a model in URLs: rename it to at most 128 of A-Z, a-z, 0-9, "
                "., _ and -, the first a letter or digit."
            )
        if fault := _too_large(root):
            raise UsageError(fault)
        yield VersionSource(root.stem, 1, root, _fingerprint(root))
    elif _is_bundle(root):
        if fault := _unreadable(root / MANIFEST):
            raise EdgelineError(fault)
        yield _bundle(root)
    elif not root.is_dir():
        raise UsageError(f"{root} is neither a file nor a folder: give a bundle or a .tflite.")
    elif _is_model(root):
        for source in _versions(root):
            # a bundle has its name with it, wherever it was copied to
            yield _bundle(source.path) if _is_bundle(source.path) else source
    else:
        for child in sorted(root.iterdir()):
            if not child.name.startswith("."):
                yield from _models(child)


def _is_model(root: Path) -> bool:
    """Whether a folder holds versions of one model: bundles or files in folders called 1, 2, ..."""
    numbered = (child for child in root.iterdir() if whole(child.name)) if root.is_dir() else ()
    return any(child.is_dir() and (_is_bundle(child) or _bare(child)) for child in numbered)


def _models(path: Path) -> Iterator[VersionSource]:
    """What an entry of a store holds; what is wrong with it is its own."""
    bare = path.suffix == ".tflite"
    if not _NAME.fullmatch(path.name):
        if bare or path.is_dir():
            _say(f"{path} cannot name a model in URLs and is not served: rename it.")
        return
    name, version = (path.stem, 1) if bare else (path.name, 0)
    try:
        if path.is_dir():
            found = list(_versions(path))
            yield from found
            if bare and not found:
                yield VersionSource(
                    name, version, path, (), fault=f"{path} is a folder, not a model."
                )
        elif bare and path.is_file():
            yield _model(name, version, path)
        elif bare:
            yield VersionSource(name, version, path, (), fault=f"{path} is not a regular file.")
    except FileNotFoundError:  # it went while it was looked at
        return
    except OSError as error:
        fault = f"{error.filename or path} cannot be read ({error.strerror})."
        yield VersionSource(name, version, path, (), fault=fault)


def _versions(folder: Path) -> Iterator[VersionSource]:
    for child in sorted(folder.iterdir()):
        if (version := whole(child.name)) is None or not child.is_dir():
            continue
        if version < 1 or str(version) != child.name:
            continue
        if _is_bundle(child):
            fault = _unreadable(manifest := child / MANIFEST)
            found = () if fault else _fingerprint(manifest)
            yield VersionSource(folder.name, version, child, found, fault=fault)
            continue
        models = _bare(child)
        if len(models) > 1:
            _say(f"{child} holds {len(models)} models and is not served: give each its own folder.")
        elif models and models[0].is_file():
            yield _model(folder.name, version, models[0])
        elif models:
            fault = f"{models[0]} is not a regular file."
            yield VersionSource(folder.name, version, models[0], (), fault=fault)


def _model(name: str, version: int, file: Path) -> VersionSource:
    return VersionSource(name, version, file, _fingerprint(file), fault=_too_large(file))


def _too_large(file: Path) -> str:
    """What is wrong with a model that no reader of the format could take; "" for others."""
    if (size := file.stat().st_size) <= MOST_BYTES:
        return ""
    return f"{file} has {size:,} bytes, a .tflite file has at most {MOST_BYTES:,}."


def _is_bundle(folder: Path) -> bool:
    """Whether there is a manifest, of whatever kind: without it the files beside it say less."""
    return os.path.lexists(folder / MANIFEST)


def _unreadable(manifest: Path) -> str:
    """Why what is called a manifest is not even a file; "" where it is one."""
    if manifest.is_file():
        return ""
    nowhere = manifest.is_symlink() and not manifest.exists()
    what = "a link to nowhere" if nowhere else "not a regular file"
    return f"{manifest} is {what}: publish the bundle again."


def _bare(folder: Path) -> list[Path]:
    """The models of a folder; one that has its form for the Edge TPU beside it is not another."""
    models = sorted(folder.glob("*.tflite"))
    return [m for m in models if m.with_name(f"{m.stem}_edgetpu.tflite") not in models]


def _bundle(folder: Path) -> VersionSource:
    manifest = folder / MANIFEST
    value = typed.read(manifest)
    known = (
        {n: value[n] for n in ("name", "version") if n in value}
        if isinstance(value, dict)
        else value
    )
    try:
        called: _Called = typed.convert(known, _Called)
    except EdgelineError as error:
        raise EdgelineError(f"{manifest} is malformed ({error}): publish it again.") from None
    if not _NAME.fullmatch(called.name) or called.version < 1:
        raise EdgelineError(f"{manifest} names an impossible {called.name!r} {called.version}.")
    return VersionSource(called.name, called.version, folder, _fingerprint(manifest))


@dataclass(frozen=True)
class _Called:
    name: str
    version: int


@lru_cache(1024)
def _say(sentence: str) -> None:
    """Log a warning once: a store is looked at every few seconds."""
    log.warning("%s", sentence)


def _fingerprint(file: Path) -> tuple[int, ...]:
    state = file.stat()
    return state.st_mtime_ns, state.st_size, state.st_ino
