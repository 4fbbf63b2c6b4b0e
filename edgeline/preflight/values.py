"""What an expression in a user's module can be, as far as parsing tells: its constants.

A name is what the module, or the function around it, binds it to; the variable of a loop over
constants is each of them. What cannot be told raises `UnknownError`, and nobody guesses.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

MOST = 10_000  # values of one expression
READING = ("dict", "enumerate", "len", "list", "reversed", "set", "sorted", "tuple", "zip")
DYNAMIC = ("eval", "exec", "globals", "locals", "setattr", "vars")  # may bind any name
UNKNOWN = object()  # a dictionary's value: its keys may be known all the same
Scope = Mapping[str, Sequence[Any]]
"""All values that a name may have; a name that is not there is unknown."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class UnknownError(Exception):
    """Only a run would tell."""


def values(node: ast.expr, scope: Scope) -> list[Any]:
    """Every value that an expression may have, perhaps more than it has.

    Raises:
        UnknownError: it is not made of constants.
    """
    if isinstance(node, ast.Constant):
        return [node.value]
    if isinstance(node, ast.Name):
        if node.id not in scope or UNKNOWN in scope[node.id]:
            raise UnknownError
        return list(scope[node.id])
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        whole = [_parts(each, scope) for each in node.elts]
        return [list(itertools.chain(*each)) for each in _product(whole)]
    if isinstance(node, ast.Dict):
        entries = [_entries(key, value, scope) for key, value in _pairs(node)]
        return [dict(itertools.chain(*each)) for each in _product(entries)]
    if isinstance(node, ast.JoinedStr):
        texts = [_text(part, scope) for part in node.values]
        return ["".join(each) for each in _product(texts)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        both = _product([values(node.left, scope), values(node.right, scope)])
        if all(type(a) is type(b) and isinstance(a, (str, list)) for a, b in both):
            return [a + b for a, b in both]
    if isinstance(node, ast.IfExp):
        return values(node.body, scope) + values(node.orelse, scope)
    raise UnknownError


def iterated(node: ast.expr, scope: Scope) -> list[Any]:
    """Every element that a loop over an expression may have; a pair is a list.

    Raises:
        UnknownError: it is not made of constants.
    """
    how: Callable[[Any], Any] = list
    if isinstance(node, ast.Call) and not node.keywords:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if isinstance(node.func, ast.Attribute) and not node.args:
            ways: dict[str, Callable[[Any], Any]] = {
                "items": lambda each: [list(pair) for pair in each.items()],
                "keys": list,
                "values": lambda each: list(each.values()),
            }
            if name not in ways:
                raise UnknownError
            node, how = node.func.value, ways[name]
        elif called in ("sorted", "list", "tuple", "set", "reversed") and len(node.args) == 1:
            return iterated(node.args[0], scope)
        elif called == "enumerate" and len(node.args) == 1:
            return [[place, each] for place, each in enumerate(iterated(node.args[0], scope))]
        else:
            raise UnknownError
    several = values(node, scope)
    if len(several) != 1 or not isinstance(several[0], (list, dict)):
        raise UnknownError
    try:
        return list(how(several[0]))
    except AttributeError:
        raise UnknownError from None


def module_scope(tree: ast.Module, imported: Scope) -> dict[str, list[Any]]:
    """The constants that a module binds once, at its top, and nowhere else.

    Args:
        imported: those that it imports from its own code.
    """
    nodes = list(ast.walk(tree))
    if any(isinstance(node, ast.Call) and _called(node) in DYNAMIC for node in nodes):
        return {}
    scope: dict[str, list[Any]] = {name: list(each) for name, each in imported.items()}
    bound = _bindings(tree.body)
    spoilt = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
    spoilt |= {node.arg for each in nodes if isinstance(each, ast.Lambda) for node in _args(each)}
    spoilt |= set(_changed(tree))
    handed = set(_handed_on(tree))

    def may_change(name: str) -> bool:
        return name in spoilt or (name in handed and any(map(_is_mutable, scope[name])))

    for name in [each for each in scope if may_change(each)]:
        del scope[name]
    for node in tree.body:
        target, value = _assigned(node)
        if target and value is not None and bound.count(target) == 1 and target not in spoilt:
            try:
                scope[target] = values(value, scope)
            except UnknownError:
                scope.pop(target, None)
            if target in scope and may_change(target):
                del scope[target]
    return {name: each for name, each in scope.items() if bound.count(name) <= 1}


def function_scope(function: _Function, outer: Scope) -> dict[str, list[Any]]:
    """The constants that a function sees: those around it, and the variables of loops over them.

    What it binds itself is unknown: which value a name has where depends on what has run.
    """
    nodes = list(ast.walk(function))
    bound = _bindings(function.body) + [node.arg for node in nodes if isinstance(node, ast.arg)]
    for node in nodes:
        if isinstance(node, ast.comprehension):
            bound += _names(node.target)
        elif node is not function and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            bound += _bindings(node.body)
    around = {name: list(each) for name, each in outer.items() if name not in bound}
    found: dict[str, list[Any]] = {}
    turned: list[str] = []
    for node in nodes:
        if isinstance(node, (ast.For, ast.comprehension)):
            try:
                for name, each in unpacked(node.target, iterated(node.iter, around)):
                    found.setdefault(name, []).append(each)
                turned += _names(node.target)
            except UnknownError:
                continue
    # of one that anything else binds, nothing is known
    loops = {name: x for name, x in found.items() if turned.count(name) == bound.count(name)}
    return {**around, **loops}


def _product(each: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    size = 1
    for one in each:
        size *= len(one)
    if size > MOST:
        raise UnknownError
    return list(itertools.product(*each))


def _parts(node: ast.expr, scope: Scope) -> list[list[Any]]:
    if isinstance(node, ast.Starred):
        return [_listed(each) for each in values(node.value, scope)]
    return [[each] for each in values(node, scope)]


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, (list, dict)):
        raise UnknownError
    return list(value)


def _pairs(node: ast.Dict) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    return zip(node.keys, node.values, strict=True)


def _entries(key: ast.expr | None, value: ast.expr, scope: Scope) -> list[list[tuple[Any, Any]]]:
    if key is None:
        spread = values(value, scope)
        if not all(isinstance(each, dict) for each in spread):
            raise UnknownError
        return [list(each.items()) for each in spread]
    try:
        held: list[Any] = values(value, scope)
    except UnknownError:
        held = [UNKNOWN]
    keys = values(key, scope)
    if not all(isinstance(each, (str, int, float)) for each in keys):
        raise UnknownError
    return [[(each, one)] for each in keys for one in held]


def _text(node: ast.expr, scope: Scope) -> list[str]:
    if isinstance(node, ast.FormattedValue):
        if node.format_spec is not None or node.conversion not in (-1, 115):
            raise UnknownError
        return [str(each) for each in values(node.value, scope)]
    return [str(each) for each in values(node, scope)]


def _assigned(node: ast.AST) -> tuple[str, ast.expr | None]:
    """The name and value of `name = value`."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        return (target.id, node.value) if isinstance(target, ast.Name) else ("", None)
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return "", None


def _bindings(body: Sequence[ast.stmt]) -> list[str]:
    """The names that statements bind, each as often as it is; not those of functions within."""
    found: list[str] = []
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(node.name)
            continue
        if isinstance(node, (ast.MatchAs, ast.MatchStar, ast.ExceptHandler)) and node.name:
            found.append(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.append(node.rest)
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            found.append(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found += [(each.asname or each.name).partition(".")[0] for each in node.names]
        elif isinstance(node, ast.comprehension):  # a scope of its own
            waiting += [node.iter, *node.ifs]
            continue
        waiting += ast.iter_child_nodes(node)
    return found


def _changed(tree: ast.AST) -> Iterator[str]:
    """Names whose object something changes: by an item, an attribute or a method."""
    for node in ast.walk(tree):
        target: ast.expr | None = None
        if isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
            target = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            reads = ("items", "keys", "values", "get", "copy", "index", "count", "format", "join")
            target = None if node.func.attr in reads else node.func.value
        elif isinstance(node, ast.AugAssign):
            target = node.target
        while isinstance(target, (ast.Subscript, ast.Attribute)):
            target = target.value
        if isinstance(target, ast.Name):
            yield target.id


def _handed_on(tree: ast.AST) -> Iterator[str]:
    """Names that something else may hold, too, and change: used otherwise than to be read."""
    read: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Subscript, ast.Attribute, ast.Starred)):
            read.add(id(node.value))
        elif isinstance(node, ast.Compare):
            read |= {id(each) for each in (node.left, *node.comparators)}
        elif isinstance(node, (ast.For, ast.comprehension)):
            read.add(id(node.iter))
        elif isinstance(node, ast.BinOp):
            read |= {id(node.left), id(node.right)}
        elif isinstance(node, ast.Call) and _called(node) in READING:
            read |= {id(each) for each in node.args}
        elif isinstance(node, ast.Dict):
            read |= {
                id(value) for key, value in zip(node.keys, node.values, strict=True) if key is None
            }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in read:
            yield node.id


def _is_mutable(value: Any) -> bool:
    return isinstance(value, (list, dict))


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _args(node: ast.Lambda) -> list[ast.arg]:
    return [each for each in ast.walk(node.args) if isinstance(each, ast.arg)]


def _names(target: ast.AST) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]


def unpacked(target: ast.expr, elements: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """What a loop's variables become, element by element.

    Raises:
        UnknownError: the elements do not fall apart so.
    """
    for each in elements:
        if isinstance(target, ast.Name):
            yield target.id, each
        elif isinstance(target, ast.Tuple) and isinstance(each, list):
            if len(target.elts) != len(each):
                raise UnknownError
            for one, value in zip(target.elts, each, strict=True):
                yield from unpacked(one, [value])
        else:
            raise UnknownError
