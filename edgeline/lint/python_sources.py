"""The Python functions that kfp writes into compiled pipelines, read but never run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from edgeline.kubeflow import face, task
from edgeline.lint.documents import listed

MODULES = (task.EXECUTOR, task.MODULE)


def runs_python(executor: Mapping[str, Any]) -> bool:
    """Whether kfp's own Python reads the task's inputs, not a program that someone wrote."""
    return any(module in text for text in _texts(executor) for module in MODULES)


def face_of(executor: Mapping[str, Any]) -> face.Face | None:
    """The component of edgeline's that the task names; None where it names none."""
    return face.in_command(list(_texts(executor)))


def function(executor: Mapping[str, Any]) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """A component's function; None where it is inside the image, or cannot be read.

    Of a component of edgeline's it is the installed one, of whatever version.
    """
    texts = list(_texts(executor))
    if "--function_to_execute" not in texts[:-1]:
        return None
    name = texts[texts.index("--function_to_execute") + 1]
    if named := face_of(executor):
        texts = [face.source(named.name) or ""]
    for text in texts:
        if f"def {name}(" not in text:
            continue
        for entry in _parsed(text):
            if isinstance(entry, ast.FunctionDef | ast.AsyncFunctionDef) and entry.name == name:
                return entry
    return None


@lru_cache(maxsize=256)  # kfp writes a component once for each of its tasks
def _parsed(text: str) -> Sequence[ast.stmt]:
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


def is_optional(annotation: ast.expr | None) -> bool:
    """Whether an annotation is written as `Optional[...]`, `Union[..., None]` or `... | None`."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return is_optional(ast.parse(annotation.value, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return True
    if isinstance(annotation, ast.Subscript):
        return ast.unparse(annotation.value).rpartition(".")[2] in ("Optional", "Union")
    return False


def nulls(body: ast.AST, artifacts: set[str]) -> Iterator[str]:
    """The keys of artifacts' metadata that a function sets to None, as far as it says so itself.

    Args:
        artifacts: names of the outputs.
    """
    known = {f"{name}.metadata" for name in artifacts}
    for node in ast.walk(body):  # metadata = model.metadata
        if isinstance(node, ast.Assign) and ast.unparse(node.value) in known:
            known |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(body):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Subscript) and ast.unparse(target.value) in known:
                    if _may_be_none(node.value):
                        yield _key(target.slice)
                elif isinstance(target, ast.Attribute) and ast.unparse(target) in known:
                    yield from _none_in(node.value)
        elif isinstance(node, ast.Call):
            yield from _of_call(node, known)


def _of_call(call: ast.Call, known: set[str]) -> Iterator[str]:
    told = call.func
    if isinstance(told, ast.Attribute) and ast.unparse(told.value) in known:
        if told.attr == "update":
            for argument in call.args:
                yield from _none_in(argument)
            yield from _none_in_keywords(call.keywords)
        elif told.attr == "setdefault" and call.args:
            yield from [_key(call.args[0])] if _may_be_none([*call.args, None][1]) else []
        return
    for keyword in call.keywords:  # Model(uri=..., metadata={...}), which is returned
        if keyword.arg == "metadata":
            yield from _none_in(keyword.value)


def _none_in(value: ast.expr | None) -> Iterator[str]:
    """The keys of a dict, as it is written, that are None."""
    if isinstance(value, ast.Dict):
        for key, entry in zip(value.keys, value.values, strict=True):
            if key is None:
                yield from _none_in(entry)
            elif _may_be_none(entry):
                yield _key(key)
    elif isinstance(value, ast.Call) and ast.unparse(value.func) == "dict":
        for argument in value.args:
            yield from _none_in(argument)
        yield from _none_in_keywords(value.keywords)
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):
        yield from _none_in(value.left)
        yield from _none_in(value.right)


def _none_in_keywords(keywords: list[ast.keyword]) -> Iterator[str]:
    for keyword in keywords:
        if keyword.arg is None:
            yield from _none_in(keyword.value)
        elif _may_be_none(keyword.value):
            yield keyword.arg


def _may_be_none(value: ast.expr | None) -> bool:
    """Whether it is written as None, or as None for one of two cases."""
    if isinstance(value, ast.IfExp):
        return _may_be_none(value.body) or _may_be_none(value.orelse)
    if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or):
        return _may_be_none(value.values[-1])
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _key(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def _texts(executor: Mapping[str, Any]) -> Iterator[str]:
    for part in ("command", "args"):
        for text in listed(executor, "container", part):
            if isinstance(text, str):
                yield text
