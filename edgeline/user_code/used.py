"""What a task's own code imports on this machine: a change of it is a change of the task.

A component of one's own carries the source of its function alone, so a cache that is keyed by it
would give the results of an older module that the function imports.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from edgeline.user_code import imports

_LIBRARIES = tuple(
    Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def digest(names: Iterable[str]) -> str:
    """The sha256 of all code that some imports reach outside of libraries, and of the versions of
    the libraries that it names; "" where there is nothing of either.

    Edgeline's own code and the standard library are left out.

    Args:
        names: dotted names, as `imports.names` gives them of a source.
    """
    total = hashlib.sha256()
    empty = total.digest()
    files: dict[Path, bytes] = {}
    versions: set[str] = set()
    waiting, done = list(names), set()
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if name in done or top == "edgeline":
            continue
        done.add(name)
        for path, package in _files(name):
            if path in files:
                continue
            if any(path.is_relative_to(folder) for folder in _LIBRARIES):
                if top not in sys.stdlib_module_names:  # of which no distribution tells a version
                    versions.add(_version(top))
                break
            files[path] = path.read_bytes()
            try:
                waiting += imports.names(files[path], package)
            except (SyntaxError, ValueError):  # the task says so
                continue
    for line in sorted(versions - {""}):
        total.update(f"{line}\n".encode())
    for path in sorted(files):
        total.update(hashlib.sha256(files[path]).digest())
    return "" if total.digest() == empty else total.hexdigest()


def _files(name: str) -> list[tuple[Path, tuple[str, ...]]]:
    """The files that importing a name runs, each with the package that it is in; this folder is
    where tasks start, so it is looked into first."""
    found: list[tuple[Path, tuple[str, ...]]] = []
    folders: list[str] | None = [str(Path.cwd())]
    parts = name.split(".")
    for count, part in enumerate(parts, 1):
        spec = imports.find(part, folders)
        if spec is None and count == 1:
            spec = imports.find(part)
        if spec is None:
            break
        folders = list(spec.submodule_search_locations or ())
        if spec.origin and spec.origin.endswith(".py"):
            package = parts[:count] if folders else parts[: count - 1]
            found.append((Path(spec.origin).resolve(), tuple(package)))
    return found


@cache
def _version(package: str) -> str:
    """`name version` of the distributions that bring a package; "" where none says so."""
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(package, ())
        return " ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names)))
