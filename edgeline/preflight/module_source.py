"""A user's module as parsing shows it: what it holds, reads and gives. Nothing of it is run."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from edgeline.preflight import functions
from edgeline.preflight.values import Scope, UnknownError, function_scope, module_scope
from edgeline.user_code import imports
from edgeline.user_code.code import UserCode

VOCABULARY = "vocab_filename"
_VOCABULARY_PLACE = 5  # of that among the arguments of tf.Transform's functions
_NAMELESS = ("edgeline", "tensorflow", "tensorflow_transform", "keras", "tf_keras", "numpy", "math")
_IN_MODULES = ("__name__", "__file__", "__doc__", "__path__", "__package__", "__spec__")
_OURS = "edgeline.preprocessing"  # it has no more names than its first file
_CALLED = ("preprocessing_fn", "build_model")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class ModuleSource:
    """The files of a module, parsed.

    Attributes:
        code: the files.
        trees: of those that are Python.
        faults: a sentence for each that certainly should be.
    """

    code: UserCode
    trees: dict[str, ast.Module]
    faults: tuple[str, ...]

    @property
    def entry(self) -> ast.Module | None:
        """The module itself; None where it is not Python."""
        return self.trees.get(self.code.entry)

    @cached_property
    def scope(self) -> Scope:
        """The constants of the module."""
        return self._scope_of(self.code.entry, ())

    def lacks(self, name: str) -> bool:
        """Whether the module certainly has nothing of a name."""
        return self.entry is not None and _has_no(self.entry, name)

    def function(self, name: str) -> _Function | None:
        """A function that the module defines once, at its top."""
        if self.entry is None or _bound(self.entry).count(name) != 1:
            return None
        found = [node for node in self.entry.body if getattr(node, "name", "") == name]
        return found[0] if found and isinstance(found[0], ast.FunctionDef) else None

    def cannot_take(self, name: str, count: int) -> int:
        """The line of a function that certainly does not take so many arguments; else 0."""
        found = self.function(name)
        return found.lineno if found and functions.cannot_take(found, count) else 0

    def gives_nothing(self, name: str) -> int:
        """The line of a function that certainly returns nothing; else 0."""
        found = self.function(name)
        return found.lineno if found and functions.gives_nothing(found) else 0

    def required_items(self, name: str, argument: int) -> list[tuple[str, int]]:
        """See `functions.required_items`; none where the module has no such function."""
        if not (function := self.function(name)):
            return []
        scope = function_scope(function, self.scope)
        return functions.required_items(function, argument, scope)

    def read_items(self, name: str, argument: int) -> set[str] | None:
        """See `functions.read_items`; None where the module has no such function."""
        function = self.function(name)
        return functions.read_items(function, argument) if function else None

    def returned_keys(self, name: str) -> set[str] | None:
        """See `functions.returned_keys`."""
        if not (function := self.function(name)):
            return None
        return functions.returned_keys(function, function_scope(function, self.scope))

    def vocabularies(self) -> set[str] | None:
        """Every name that a vocabulary may be given; None where that cannot be told."""
        found: set[str] = set()
        if len(self.trees) < len(self.code.files) or not all(
            map(self._makes_none_elsewhere, self.trees.values())
        ):
            return None
        for path, tree in self.trees.items():
            outer = self._scope_of(path, ())
            inner = [
                (node, function_scope(node, outer))
                for node in ast.walk(tree)
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            ]
            if any(map(_names_a_vocabulary_by_place, ast.walk(tree))):
                return None
            try:
                found |= set(functions.keyword_values(tree, VOCABULARY, inner, outer))
            except UnknownError:
                return None
        return found

    def missing_imports(self) -> Iterator[tuple[str, str, int]]:
        """The packages that are certainly imported and not installed here, each with file and line.

        What is under a condition, or may fail, is not looked at.
        """
        done: set[str] = set()
        if any(map(_changes_what_is_found, self.trees.values())):
            return
        for path, tree in self.trees.items():
            for node in _unguarded(tree):
                for name in _absolute(node):
                    top = name.partition(".")[0]
                    if top in done:
                        continue
                    done.add(top)
                    if not (self._is_own(top) or _built_in(top) or _is_installed(top)):
                        yield top, path, node.lineno

    def missing_names(self) -> Iterator[tuple[str, str, str, int]]:
        """What is certainly imported from a module beside it, or from edgeline's, and is not there.

        Each with the module, and the file and line that import it.
        """
        for path, tree in self.trees.items():
            for node in _unguarded(tree):
                if not isinstance(node, ast.ImportFrom):
                    continue
                theirs = self._tree_of(node, path)
                for each in node.names if theirs else ():
                    if _has_no(theirs, each.name) and not self._is_module(node, path, each.name):
                        yield each.name, "." * node.level + (node.module or ""), path, node.lineno

    def relative_imports(self) -> Iterator[tuple[str, int]]:
        """The imports of a module in no package that only one in a package can have, by line."""
        if self.entry and "/" not in self.code.entry:
            for node in _unguarded(self.entry):
                if isinstance(node, ast.ImportFrom) and node.level:
                    yield ast.unparse(node), node.lineno

    def _makes_none_elsewhere(self, tree: ast.Module) -> bool:
        """Whether what a file imports is known not to name vocabularies."""
        found = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = [name for node in found for name in _absolute(node)]
        relative = [node for node in found if isinstance(node, ast.ImportFrom) and node.level]
        tops = {name.partition(".")[0] for name in names}
        whole = len(self.code.files) > 1 or not relative
        return whole and all(x in _NAMELESS or self._is_own(x) or _built_in(x) for x in tops)

    def _is_own(self, top: str) -> bool:
        return any(path.partition("/")[0].removesuffix(".py") == top for path in self.code.files)

    def _scope_of(self, path: str, around: Sequence[str]) -> dict[str, list[Any]]:
        tree = self.trees.get(path)
        if tree is None or path in around:
            return {}
        imported: dict[str, list[Any]] = {}
        if any(isinstance(node, ast.alias) and node.name == "*" for node in ast.walk(tree)):
            return {}  # any name may be another's
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                theirs = self._scope_of(self._file_of(node, path), (*around, path))
                for each in node.names:
                    if each.name in theirs:
                        imported[each.asname or each.name] = theirs[each.name]
        return module_scope(tree, imported)

    def _tree_of(self, node: ast.ImportFrom, path: str) -> ast.Module | None:
        """The module that `from ... import` takes names of, where it is its own or edgeline's."""
        if node.level == 0 and node.module == _OURS:
            # not by its own name, which would import it, and numpy
            ours = resources.files("edgeline") / "preprocessing" / "__init__.py"
            return ast.parse(ours.read_text("utf-8"))
        return self.trees.get(self._file_of(node, path))

    def _is_module(self, node: ast.ImportFrom, path: str, name: str) -> bool:
        whole = f"{node.module}.{name}" if node.module else name
        return bool(self._file_of(ast.ImportFrom(whole, [], node.level), path))

    def _file_of(self, node: ast.ImportFrom, path: str) -> str:
        """The file of the code that `from ... import` takes names of; "" where it is another's."""
        package = PurePosixPath(path).parent.parts
        parts = node.module.split(".") if node.module else []
        if node.level:
            parts = [*package[: len(package) - node.level + 1], *parts]
        found = [each for each in imports.paths(".".join(parts)) if each in self.code.files]
        whole = "/".join(parts)
        return next((x for x in found if x in (f"{whole}.py", f"{whole}/__init__.py")), "")


def parsed(code: UserCode) -> ModuleSource:
    """The files of a module, parsed."""
    trees: dict[str, ast.Module] = {}
    faults: list[str] = []
    for path, source in code.files.items():
        try:
            trees[path] = ast.parse(source)
        except (SyntaxError, ValueError) as error:
            if path != code.entry:  # it may be for another Python, and never be imported
                continue
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            said = error.msg if isinstance(error, SyntaxError) else str(error)
            faults.append(f"{code.shown(path)}{line} is not Python ({said}): fix it.")
    return ModuleSource(code, trees, tuple(faults))


def _has_no(tree: ast.Module | None, name: str) -> bool:
    """Whether a module certainly has nothing of a name."""
    if tree is None or name == "*" or "__getattr__" in _bound(tree):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(each.name == "*" for each in node.names):
            return False
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            *("exec", "globals", "vars", "setattr", "locals", "eval"),
        ):
            return False
    return name not in (*_bound(tree), *_IN_MODULES)


def _bound(tree: ast.Module) -> list[str]:
    """Every name that something in a module binds, wherever."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found += [each.asname or each.name for each in node.names]
    return found


def _unguarded(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module or one of its functions does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, (ast.Return, ast.Raise)):
            return
        elif getattr(node, "name", "") in _CALLED:
            yield from _unguarded(node)


def _changes_what_is_found(tree: ast.Module) -> bool:
    """Whether a file says where Python looks for modules, or what they are."""
    return any(
        (
            isinstance(node, ast.Attribute)
            and node.attr in ("path", "modules", "meta_path")
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
        )
        or (isinstance(node, (ast.Import, ast.ImportFrom)) and "site" in _absolute(node))
        or (isinstance(node, ast.ImportFrom) and node.module == "sys")
        for node in ast.walk(tree)
    )


def _absolute(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module] if node.module and not node.level else []


def _is_installed(top: str) -> bool:
    """In this folder, too, where tasks start."""
    return bool(imports.find(top) or imports.find(top, [str(Path.cwd())]))


def _built_in(name: str) -> bool:
    import sys

    return name in sys.stdlib_module_names or hasattr(builtins, name)


def _names_a_vocabulary_by_place(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
    return "vocabulary" in called and (
        len(node.args) > _VOCABULARY_PLACE or any(isinstance(x, ast.Starred) for x in node.args)
    )
