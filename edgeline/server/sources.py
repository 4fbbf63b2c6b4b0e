"""What models a path holds: a bundle, a store of bundles, or bare `.tflite` files.

    bundle/manifest.json                        one version of one model
    store/<name>/<version>/manifest.json        what `publish` writes
    store/<name>/<version>/<any>.tflite         as TensorFlow Serving lays models out
    models/<name>.tflite                        bare files, each version 1
    <name>.tflite

A store may name versions in `<name>/labels.json`: {"stable": 3, "canary": 4}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeline.bundle import MANIFEST
from edgeline.errors import EdgelineError
from edgeline.server.digits import whole

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LABELS = "labels.json"


@dataclass(frozen=True)
class Source:
    """One version of a model on disk.

    `print` changes when its files do. `digest` is the sha256 that its manifest has to have, empty
    where nobody has signed for it.
    """

    name: str
    version: int
    path: Path
    print: tuple[int, ...]
    digest: str = ""


def find(root: Path) -> dict[str, dict[int, Source]]:
    """Sources by name and version; folders that are not (yet) models are left out.

    Raises:
        EdgelineError: the path is missing or is itself no model that can be served.
    """
    if not root.exists():
        raise EdgelineError(f"{root} is missing: give a bundle, a store of bundles or a .tflite.")
    found: dict[str, dict[int, Source]] = {}
    for source in _sources(root):
        found.setdefault(source.name, {})[source.version] = source
    return found


def labels(root: Path, name: str) -> dict[str, int]:
    """The labels of a model's versions; none where the file is missing or broken."""
    try:
        value = json.loads((root / name / LABELS).read_text())
        return {str(label): int(version) for label, version in value.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _sources(root: Path) -> Iterator[Source]:
    if root.is_file():
        if root.suffix != ".tflite":
            raise EdgelineError(f"{root} is no model: give a bundle, a store or a .tflite file.")
        if not _NAME.fullmatch(root.stem):
            raise EdgelineError(
                f"{root} cannot name a model in URLs: rename it to at most 128 of A-Z, a-z, 0-9, "
                "., _ and -, the first a letter or digit."
            )
        yield Source(root.stem, 1, root, _print(root))
    elif (root / MANIFEST).is_file():
        yield _bundle(root)
    else:
        for child in sorted(root.iterdir()):
            if child.name.startswith(".") or not _NAME.fullmatch(child.name):
                continue
            if child.is_file() and child.suffix == ".tflite":
                yield Source(child.stem, 1, child, _print(child))
            elif child.is_dir():
                yield from _versions(child)


def _versions(folder: Path) -> Iterator[Source]:
    for child in sorted(folder.iterdir()):
        if (version := whole(child.name)) is None or not child.is_dir():
            continue
        if version < 1 or str(version) != child.name:
            continue
        if (manifest := child / MANIFEST).is_file():
            yield Source(folder.name, version, child, _print(manifest))
        elif len(models := _models(child)) == 1:
            yield Source(folder.name, version, models[0], _print(models[0]))


def _models(folder: Path) -> list[Path]:
    """The models of a folder; one that has its form for the Edge TPU beside it is not another."""
    models = sorted(folder.glob("*.tflite"))
    return [m for m in models if m.with_name(f"{m.stem}_edgetpu.tflite") not in models]


def _bundle(folder: Path) -> Source:
    manifest = folder / MANIFEST
    try:
        value = json.loads(manifest.read_text())
        name, version = str(value["name"]), int(value["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise EdgelineError(f"{manifest} is malformed ({error}): publish it again.") from error
    if not _NAME.fullmatch(name) or version < 1:
        raise EdgelineError(f"{manifest} names an impossible {name!r} {version}.")
    return Source(name, version, folder, _print(manifest))


def _print(file: Path) -> tuple[int, ...]:
    state = file.stat()
    return state.st_mtime_ns, state.st_size, state.st_ino
