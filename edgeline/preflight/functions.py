"""What a function of a user's module certainly reads, and at most gives, by parsing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from edgeline.preflight.values import Scope, UnknownError, iterated, unpacked, values

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_ASKING = ("get", "items", "keys", "values", "copy")  # methods that change nothing
NAMING = ("vocabulary", "compute_and_apply_vocabulary")  # tf.Transform's, with such a keyword
_ENDS = (ast.Return, ast.Raise, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom)
_TRY_STAR = getattr(ast, "TryStar", ast.Try)  # since Python 3.11
_LATER = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.GeneratorExp)


def required_items(function: _Function, argument: int, scope: Scope) -> list[tuple[str, int]]:
    """The names that a function takes out of one of its dictionaries whatever happens, by line.

    Under a condition, in what may fail, or after a return, nothing is certain; nor is it where the
    function gives the dictionary to another, or changes it.

    Args:
        argument: the position of the dictionary among the function's arguments.
        scope: the constants that the function sees.
    """
    arguments = [*function.args.posonlyargs, *function.args.args]
    if len(arguments) <= argument or function.decorator_list:
        return []
    name = arguments[argument].arg
    if not _is_only_read(function, name):
        return []
    found: list[tuple[str, int]] = []
    for node, known in _certain(function.body, {n: x for n, x in scope.items() if len(x) == 1}):
        for read, here in _expressions(node, known):
            if (
                isinstance(read, ast.Subscript)
                and isinstance(read.value, ast.Name)
                and read.value.id == name
            ):
                found += [(each, read.lineno) for each in _all_of(read.slice, here)]
    return list(dict.fromkeys(found))


def read_items(function: _Function, argument: int) -> set[str] | None:
    """Every name that a function may take out of one of its dictionaries.

    Args:
        argument: the position of the dictionary among the function's arguments.

    Returns:
        None where that cannot be told: a name is computed, or the dictionary is handed on, gone
        through or changed.
    """
    arguments = [*function.args.posonlyargs, *function.args.args]
    if len(arguments) <= argument or function.decorator_list:
        return None
    name = arguments[argument].arg
    asked: dict[int, ast.expr] = {}  # by the use of the dictionary: the name that it is asked for
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            asked[id(node.value)] = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "get" and node.args:
                asked[id(node.func.value)] = node.args[0]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            asked[id(node.comparators[0])] = node.left
    found: set[str] = set()
    for use in ast.walk(function):
        if isinstance(use, ast.Name) and use.id == name:
            item = asked.get(id(use))
            if not isinstance(item, ast.Constant) or not isinstance(item.value, str):
                return None
            found.add(item.value)
    return found


def returned_keys(function: _Function, scope: Scope) -> set[str] | None:
    """Every name that a function's returned dictionary may have; None where it cannot be told."""
    returns = [node for node in _own(function) if isinstance(node, ast.Return)]
    found: set[str] = set()
    if function.decorator_list:
        return None
    try:
        for each in returns:
            if each.value is None:
                return None
            found |= _keys(each.value, function, scope)
    except UnknownError:
        return None
    return found if returns else None


def cannot_take(function: _Function, count: int) -> bool:
    """Whether a function certainly cannot be called with so many arguments by position."""
    given = function.args
    named = [*given.posonlyargs, *given.args]
    missing = any(default is None for default in given.kw_defaults)
    few = len(named) < count and not given.vararg
    return not function.decorator_list and (
        few or missing or len(named) - len(given.defaults) > count
    )


def gives_nothing(function: _Function) -> bool:
    """Whether a function that ends certainly returns None."""
    own = list(_own(function))
    gives = (ast.Yield, ast.YieldFrom)
    returns = any(isinstance(node, ast.Return) and node.value is not None for node in own)
    return not (function.decorator_list or returns or any(isinstance(n, gives) for n in own))


def keyword_values(
    tree: ast.AST, keyword: str, scopes: Sequence[tuple[_Function, Scope]], outer: Scope
) -> list[str]:
    """Every value that calls in a module may give a keyword.

    Args:
        scopes: the functions of the module, each with the constants that it sees.
        outer: the constants of the module.

    Raises:
        UnknownError: one cannot be told, or a call gives its keywords in a dictionary.
    """
    around = {id(node): scope for function, scope in scopes for node in ast.walk(function)}
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
            if called in NAMING and keyword not in [given.arg for given in node.keywords]:
                raise UnknownError  # it is named after the operator
            for given in node.keywords:
                if given.arg is None:
                    raise UnknownError
                if given.arg == keyword:
                    found += map(str, values(given.value, around.get(id(node), outer)))
    return found


def _is_only_read(function: _Function, name: str) -> bool:
    """Whether each use of a name takes an item of it or asks it, and none hands it on."""
    fine: set[int] = set()
    for node in ast.walk(function):
        if isinstance(node, (ast.Subscript, ast.Attribute)):
            asks = isinstance(node, ast.Subscript) or node.attr in _ASKING
            fine |= {id(node.value)} if asks and isinstance(node.ctx, ast.Load) else set()
        elif isinstance(node, ast.Compare):
            fine |= {id(each) for each in node.comparators}
        elif isinstance(node, (ast.For, ast.comprehension)):
            fine.add(id(node.iter))
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("len", "sorted"):
            fine |= {id(each) for each in node.args}
    uses = [n for n in ast.walk(function) if isinstance(n, ast.Name) and n.id == name]
    return all(id(node) in fine for node in uses)


def _certain(body: Sequence[ast.stmt], scope: Scope) -> Iterator[tuple[ast.AST, Scope]]:
    """The statements, and parts of such, that run whatever happens, with what names are there."""
    for node in body:
        if isinstance(node, ast.With):  # whose context may end what it holds
            yield node.items[0].context_expr, scope
        elif isinstance(node, ast.Assert):
            yield node.test, scope
        elif isinstance(node, ast.For):
            yield node.iter, scope
            if (inner := _turned(node.target, node.iter, scope)) and not _leaves(node):
                yield from _certain(node.body, inner)
        elif isinstance(node, (ast.If, ast.While)):
            yield node.test, scope
        elif not isinstance(node, (ast.Try, _TRY_STAR, ast.Match, *_LATER)):
            yield node, scope
        if _leaves(node):
            return


def _turned(target: ast.expr, over: ast.expr, scope: Scope) -> Scope | None:
    """What is known in a loop over constants, of which each turn is certain; None for others."""
    try:
        elements = iterated(over, scope)
        names: dict[str, list[Any]] = {}
        for name, each in unpacked(target, elements):
            names.setdefault(name, []).append(each)
    except UnknownError:
        return None
    return {**scope, **names} if names else None


def _all_of(node: ast.expr, scope: Scope) -> list[str]:
    """The values that an expression takes, each of them at some time."""
    inside = list(ast.walk(node))
    several = {n.id for n in inside if isinstance(n, ast.Name) and len(scope.get(n.id, ())) > 1}
    if len(several) > 1 or any(isinstance(each, ast.IfExp) for each in inside):
        return []
    try:
        return [each for each in values(node, scope) if isinstance(each, str)]
    except UnknownError:
        return []


def _leaves(node: ast.AST) -> bool:
    return any(isinstance(each, _ENDS) for each in ast.walk(node))


def _expressions(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.AST, Scope]]:
    """A statement's parts that are evaluated whatever happens."""
    waiting: list[tuple[ast.AST, Scope]] = [(node, scope)]
    while waiting:
        each, known = waiting.pop()
        yield each, known
        if isinstance(each, ast.IfExp):
            waiting.append((each.test, known))
        elif isinstance(each, ast.BoolOp):
            waiting.append((each.values[0], known))
        elif isinstance(each, ast.Compare):
            waiting += [(each.left, known), (each.comparators[0], known)]
        elif isinstance(each, (ast.ListComp, ast.SetComp, ast.DictComp)):
            first = each.generators[0]
            waiting.append((first.iter, known))
            inner = _turned(first.target, first.iter, known)
            if inner and len(each.generators) == 1 and not first.ifs:
                parts = [each.key, each.value] if isinstance(each, ast.DictComp) else [each.elt]
                waiting += [(part, inner) for part in parts]
        elif not isinstance(each, _LATER):
            waiting += [(child, known) for child in ast.iter_child_nodes(each)]


def _own(function: _Function) -> Iterator[ast.AST]:
    """A function's nodes without those of functions within it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _LATER):
            waiting += ast.iter_child_nodes(node)


def _keys(
    node: ast.expr, function: _Function, scope: Scope, within: frozenset[str] = frozenset()
) -> set[str]:
    """Every key that an expression for a dictionary may have.

    Args:
        within: the names whose keys are being collected, which add nothing to themselves.
    """
    if isinstance(node, ast.Dict):
        found: set[str] = set()
        for key, value in zip(node.keys, node.values, strict=True):
            found |= _keys(value, function, scope, within) if key is None else _names(key, scope)
        return found
    if isinstance(node, ast.DictComp):
        return _names(node.key, scope)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _keys(node.left, function, scope, within) | _keys(
            node.right, function, scope, within
        )
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict" and not node.args:
        if any(each.arg is None for each in node.keywords):
            raise UnknownError
        return {str(each.arg) for each in node.keywords}
    if isinstance(node, ast.Name):
        if node.id in within:
            return set()
        return _collected(node.id, function, scope, within | {node.id})
    raise UnknownError


def _collected(name: str, function: _Function, scope: Scope, within: frozenset[str]) -> set[str]:
    """Every key of a dictionary that a function makes step by step."""
    found: set[str] = set()
    understood: set[int] = set()
    made = False
    for node in ast.walk(function):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id == name and node.value:
                    if isinstance(node.value, ast.Name) or len(targets) > 1:  # another's name, too
                        raise UnknownError
                    found |= _keys(node.value, function, scope, within)
                    understood |= {id(target), *map(id, _spread(node.value))}
                    made = True
                elif _is_item(target, name):
                    assert isinstance(target, ast.Subscript)
                    found |= _names(target.slice, scope)
                    understood.add(id(target.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            if isinstance(of, ast.Name) and of.id == name:
                if node.func.attr == "update":
                    for each in node.args:
                        found |= _keys(each, function, scope, within)
                    found |= {each.arg for each in node.keywords if each.arg}
                    if any(each.arg is None for each in node.keywords):
                        raise UnknownError
                elif node.func.attr not in (*_ASKING, "pop"):
                    raise UnknownError
                understood.add(id(of))
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Store):
            understood.add(id(node.value))
        elif isinstance(node, ast.Return) and node.value is not None:
            understood |= {id(each) for each in _spread(node.value)}
    uses = [each for each in ast.walk(function) if isinstance(each, ast.Name) and each.id == name]
    if not made or any(id(each) not in understood for each in uses):
        raise UnknownError
    return found


def _spread(node: ast.expr) -> Iterator[ast.expr]:
    """A returned name, or the names that a returned dictionary is put together of."""
    yield node
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from (value for key, value in pairs if key is None)
    elif isinstance(node, ast.BinOp):
        yield from (*_spread(node.left), *_spread(node.right))


def _is_item(target: ast.expr, name: str) -> bool:
    held = target.value if isinstance(target, ast.Subscript) else None
    return isinstance(held, ast.Name) and held.id == name


def _names(node: ast.expr, scope: Scope) -> set[str]:
    return {each for each in values(node, scope) if isinstance(each, str)}
