"""Which files of a module's own it imports, by parsing them: nothing is run.

An import anywhere in a file counts, in a function or under a condition too. What only a name that
is made at run time tells is not found.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import PurePosixPath

Lookup = Callable[[str], bytes | None]
"""The bytes of a file by its POSIX path below the root of the code; None where there is none."""


@lru_cache(maxsize=1024)
def names(source: bytes, package: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The dotted names that a file imports, `a.b` for `from a import b`, which may be a module.

    Args:
        package: that of the file, for its relative imports; () of a file in none.

    Raises:
        SyntaxError, ValueError: it is not Python.
    """
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found += _imported_from(node, package)
        elif isinstance(node, ast.Call) and (name := _asked_for(node)):
            found.append(name)
    return tuple(dict.fromkeys(found))


def paths(name: str) -> Iterator[str]:
    """The files that importing a dotted name may run, from the topmost package down."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        stem = "/".join(parts[:count])
        yield f"{stem}/__init__.py"
        yield f"{stem}.py"


def reached(entry: str, lookup: Lookup) -> dict[str, bytes]:
    """A file and all those of the same code that it imports, directly or not, by path, sorted.

    A name of the standard library means the library, whatever lies beside the file. A file that is
    no Python is there, with nothing that it imports.

    Args:
        entry: its path below the root of the code.
    """
    found: dict[str, bytes] = {}
    waiting = [entry, *_above(entry)]
    while waiting:
        path = waiting.pop()
        if path in found or (source := lookup(path)) is None:
            continue
        found[path] = source
        try:
            waiting += wanted(path, source)
        except (SyntaxError, ValueError):
            continue
    return dict(sorted(found.items()))


def wanted(path: str, source: bytes) -> list[str]:
    """The files that a file's imports may run, by path; none of the standard library's.

    Raises:
        SyntaxError, ValueError: it is not Python.
    """
    found = names(source, PurePosixPath(path).parent.parts)
    own = [name for name in found if name.partition(".")[0] not in sys.stdlib_module_names]
    return [each for name in own for each in paths(name)]


def module_name(path: str) -> str:
    """The dotted name of a file below the root of the code."""
    name = path.removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")


def find(name: str, folders: list[str] | None = None) -> ModuleSpec | None:
    """What Python would import by a name without a dot, or in the folders of a package, without
    importing anything; None where it finds nothing."""
    if folders is not None:
        return PathFinder.find_spec(name, folders)
    for finder in sys.meta_path:
        own = getattr(finder, "is_of_user_code", False)
        if own or finder in (BuiltinImporter, FrozenImporter) or not hasattr(finder, "find_spec"):
            continue
        if spec := finder.find_spec(name, None):
            return spec
    return None


def _above(path: str) -> list[str]:
    """The packages that a file is in, which are imported before it."""
    parents = PurePosixPath(path).parents
    return [f"{folder}/__init__.py" for folder in parents if str(folder) != "."]


def _imported_from(node: ast.ImportFrom, package: tuple[str, ...]) -> Iterator[str]:
    base = node.module.split(".") if node.module else []
    if node.level:
        if node.level > len(package):  # beyond what it is in: Python says so
            return
        base = [*package[: len(package) - node.level + 1], *base]
    if base:
        yield ".".join(base)
    yield from (".".join([*base, alias.name]) for alias in node.names if alias.name != "*")


def _asked_for(node: ast.Call) -> str:
    """The name in `import_module("name")`."""
    function = node.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if called not in ("import_module", "__import__") or not node.args:
        return ""
    given = node.args[0]
    text = given.value if isinstance(given, ast.Constant) else None
    return text if isinstance(text, str) and not text.startswith(".") else ""
