"""The user's module, with `preprocessing_fn` and `build_model`, and the code that it imports.

It is given as an import path (`my_package.taxi`), or as a file, a folder or a zip; `code` says what
each of them holds, and how it is pinned.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable
from pathlib import Path

from edgeline.errors import EdgelineError, UsageError, shortened
from edgeline.formats import plain_file
from edgeline.stores.remote import PIN, scheme
from edgeline.user_code import code as sources
from edgeline.user_code import imports
from edgeline.user_code.code import NAME, WAY_OUT
from edgeline.user_code.explaining import describe as describe
from edgeline.user_code.explaining import reason as reason
from edgeline.user_code.importing import imported


def load(module: str) -> types.ModuleType:
    """Import the user's module.

    Raises:
        EdgelineError: it cannot be found, does not have the pinned content, or
            raises while it is imported.
    """
    if not module:
        raise EdgelineError("Parameter 'module' is empty: name the file with preprocessing_fn.")
    if sources.kind(module) != NAME:
        return _from_sources(module)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise EdgelineError(
            f"Module {module!r} cannot be imported ({error}): {WAY_OUT}."
        ) from error
    except Exception as error:
        raise EdgelineError(describe(error, f"Importing {module}")) from error


def check(module: str) -> None:
    """Refuse what can be no module, without importing anything.

    Raises:
        UsageError: it is a folder without one, a file of another kind, or a name under which none
            is found.
    """
    if sources.kind(module) != NAME:
        place = module.partition(PIN)[0]
        if place.endswith(".py") and plain_file.kind(place) == plain_file.FOLDER:
            raise UsageError(f"{shortened(module)} is a folder: {WAY_OUT}.")
        return
    if "/" in module or plain_file.kind(module) not in ("", plain_file.FOLDER):
        raise UsageError(f"{shortened(module)} is not a Python file: {WAY_OUT}.")
    if locate(module) is None:
        raise UsageError(f"Module {shortened(module)!r} cannot be found: {WAY_OUT}.")


def locate(name: str) -> Path | None:
    """The file of an importable name, in this folder too, where tasks are run; nothing is imported.

    None where there is none, or it is not Python.
    """
    folders: list[str] | None = None
    origin = ""
    for part in name.split("."):
        if not part.isidentifier():
            return None
        found = imports.find(part, folders)
        if found is None and folders is None:
            found = imports.find(part, [str(Path.cwd())])
        if found is None:
            return None
        origin = found.origin or ""
        folders = list(found.submodule_search_locations or ())
    return Path(origin) if origin.endswith(".py") else None


def pin(module: str) -> str:
    """A module with its content as it is now, where that is local; others stay as they are.

    Raises:
        UsageError, EdgelineError: as `edgeline.user_code.code.read`.
    """
    if PIN in module or scheme(module) not in ("", "file") or sources.kind(module) == NAME:
        return module
    return module + PIN + sources.read(module).digest


def function(module: types.ModuleType, name: str) -> Callable[..., object]:
    """A function of the user's module.

    Raises:
        EdgelineError: the module has no such function.
    """
    found = getattr(module, name, None)
    if not callable(found):
        raise EdgelineError(
            f"{getattr(module, '__file__', module.__name__)} has no function {name}: add it."
        )
    return found  # type: ignore[no-any-return]


def read_source(module: str) -> bytes:
    """The bytes of the user's module and of what it imports of the same code, for a digest.

    Raises:
        EdgelineError: it cannot be found or does not have the pinned content.
    """
    if sources.kind(module) != NAME:
        files = sources.read(module).files
        return b"\0".join(files.values())
    found = locate(module)
    if found is None:
        raise EdgelineError(f"Module {module!r} cannot be found: {WAY_OUT}.")
    return found.read_bytes()


def _from_sources(module: str) -> types.ModuleType:
    code = sources.read(module)
    try:
        return imported(code)
    except (Exception, SystemExit) as error:  # a script's sys.exit would end us without a word
        place = code.shown(code.entry)
        raise EdgelineError(describe(error, f"Importing {place}")) from error
