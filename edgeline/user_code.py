"""The user's module: one Python file with `preprocessing_fn` and `build_model`.

It is given as an import path (`my_package.taxi`), a file (`taxi.py`) or a URI
(`s3://bucket/taxi.py`); a file or URI may be pinned with `#sha256=<hex>`.
"""

from __future__ import annotations

import importlib.util
import linecache
import os
import re
import sys
import sysconfig
import traceback
import types
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from edgeline.errors import EdgelineError, UsageError, shortened
from edgeline.formats import plain_file
from edgeline.stores.remote import PIN

# user code may lie below sys.prefix, or in a folder called edgeline: these are exact
_WAY_OUT = "give an importable name, or a path or URI that ends in .py"
_LIBRARIES = tuple(
    f"{folder}{os.sep}" for folder in (sysconfig.get_path("stdlib"), Path(__file__).parent)
)


def load(module: str) -> types.ModuleType:
    """Import the user's module.

    Raises:
        EdgelineError: it cannot be found, does not have the pinned content, or
            raises while it is imported.
    """
    if not module:
        raise EdgelineError("Parameter 'module' is empty: name the file with preprocessing_fn.")
    try:
        if not _is_file(module):
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise EdgelineError(
            f"Module {module!r} cannot be imported ({error}): {_WAY_OUT}."
        ) from error
    except Exception as error:
        raise EdgelineError(describe(error, f"Importing {module}")) from error
    return _from_source(module)


def check(module: str) -> None:
    """Refuse what can be no module, without importing anything.

    Raises:
        UsageError: it is a folder, a file of another kind, or a name under which none is found.
    """
    if _is_file(module):
        if plain_file.kind(module.partition(PIN)[0]) == plain_file.FOLDER:
            raise UsageError(f"{shortened(module)} is a folder: {_WAY_OUT}.")
        return
    if "/" in module or plain_file.kind(module) not in ("", plain_file.FOLDER):
        raise UsageError(f"{shortened(module)} is not a Python file: {_WAY_OUT}.")
    folders: Sequence[str] | None = None
    names = module.split(".")
    for count, name in enumerate(names, 1):
        spec = _find(".".join(names[:count]), folders) if name.isidentifier() else None
        if spec is None or (count == len(names) and spec.origin is None):
            raise UsageError(f"Module {shortened(module)!r} cannot be found: {_WAY_OUT}.")
        folders = list(spec.submodule_search_locations or ())


def _find(name: str, folders: Sequence[str] | None) -> ModuleSpec | None:
    if folders is not None:
        return PathFinder.find_spec(name, folders)
    try:  # importlib's finders, and this folder, where tasks are run
        return importlib.util.find_spec(name) or PathFinder.find_spec(name, [str(Path.cwd())])
    except ValueError:  # __main__
        return None


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


def describe(error: BaseException, action: str) -> str:
    """One sentence for an exception out of user code, with the user's line or the graph's node."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_library(frame.filename)]
    node = re.search(r"Detected at node (\S+)", str(error))
    where = f" in {node[1]}" if node else ""
    if own:
        where = f" at {own[-1].filename}:{own[-1].lineno} ({own[-1].line})"
    return f"{action} failed{where}: {type(error).__name__}: {reason(error)}"


def reason(error: BaseException) -> str:
    """The message of an exception in one line, without the traces of TensorFlow, Keras and Beam."""
    noise = (
        *("Graph execution error", "Detected at node", "<stack traces", 'File "', "[["),
        *("Arguments received by", "•"),
    )
    message = re.sub(r"\x1b\[[0-9;]*m", "", str(error).partition(" [while running")[0])
    lines = [line.strip() for line in message.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(noise))


def read_source(module: str) -> bytes:
    """The bytes of the user's module, for a digest or to compile it.

    Raises:
        EdgelineError: it cannot be found or does not have the pinned content.
    """
    if not _is_file(module):
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):  # no such package, or no name at all
            spec = None
        if spec is None or spec.origin is None:
            raise EdgelineError(f"Module {module!r} cannot be found: {_WAY_OUT}.")
        module = spec.origin
    from edgeline.stores import storage

    with storage.open_source(storage.resolve([module])[0]) as stream:
        return stream.read()


def _is_file(module: str) -> bool:
    return module.partition(PIN)[0].endswith(".py")


def _is_library(filename: str) -> bool:
    inside = ("site-packages", "__autograph_generated_file")
    return filename.startswith(("<", *_LIBRARIES)) or any(part in filename for part in inside)


def _from_source(module: str) -> types.ModuleType:
    source = read_source(module)
    filename = module.partition(PIN)[0]
    # the prefix keeps a file called json.py from standing in for a library
    made = types.ModuleType("user_" + filename.rsplit("/", 1)[-1].removesuffix(".py"))
    made.__file__ = filename
    # pickling by reference and inspect.getsource (AutoGraph) look there
    sys.modules[made.__name__] = made
    text = source.decode("utf-8", "replace")
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    try:
        exec(compile(source, filename, "exec", dont_inherit=True), made.__dict__)
    except (Exception, SystemExit) as error:  # a script's sys.exit would end us without a word
        raise EdgelineError(describe(error, f"Importing {filename}")) from error
    return made
