"""Import a user's code from memory: what was read, and pinned, is what runs."""

from __future__ import annotations

import importlib
import linecache
import sys
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import PurePosixPath

from edgeline.user_code.code import UserCode
from edgeline.user_code.imports import module_name

PREFIX = "user_"  # keeps a file called json.py from standing in for a library


class _Finder(MetaPathFinder, Loader):
    """Finds the modules of the user's code by name; where two have one, those that came last."""

    is_of_user_code = True

    def __init__(self) -> None:
        self._files: dict[str, tuple[UserCode, str]] = {}

    def add(self, code: UserCode) -> None:
        """Make a code's modules importable, instead of those that another had by these names."""
        fresh = {module_name(path): (code, path) for path in code.modules}
        topmost = {name.partition(".")[0] for name in fresh}
        for name in [*self._files]:
            if name.partition(".")[0] in topmost:
                del self._files[name]
        for name in [*sys.modules]:
            if name.partition(".")[0] in topmost:
                del sys.modules[name]
        self._files |= fresh
        if fresh and self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: types.ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname in self._files:
            code, file = self._files[fullname]
            is_package = file.endswith("/__init__.py")
            place = code.shown(file)
            spec = ModuleSpec(fullname, self, origin=place, is_package=is_package)
            spec.has_location = True
            return spec
        if any(name.startswith(f"{fullname}.") for name in self._files):
            return ModuleSpec(fullname, None, is_package=True)  # a folder without __init__.py
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        code, file = self._files[module.__name__]
        run(code, file, module)


_FINDER = _Finder()


def imported(code: UserCode) -> types.ModuleType:
    """The module of a user's code, run anew.

    Raises:
        Exception: whatever it raises.
    """
    _FINDER.add(code)
    if "/" in code.entry:  # in a package, where it has the name that its neighbours know
        return importlib.import_module(module_name(code.entry))
    made = types.ModuleType(PREFIX + PurePosixPath(code.entry).stem)
    made.__file__ = code.shown(code.entry)
    sys.modules[made.__name__] = made  # pickling by reference looks there
    run(code, code.entry, made)
    return made


def run(code: UserCode, file: str, module: types.ModuleType) -> None:
    """Execute a file of a user's code as a module."""
    source, filename = code.files[file], code.shown(file)
    text = source.decode("utf-8", "replace")
    # inspect.getsource (AutoGraph) looks there
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec", dont_inherit=True), module.__dict__)
