"""Faces call their workers in one dialect: who knows a component's inputs knows its worker's."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeline.components import catalogue

COMPONENTS = Path(__file__).parents[1] / "components"
STATUS = "PipelineTaskFinalStatus"  # KFP's own, whose fields a worker takes one by one


def face_and_call(source: str, name: str) -> tuple[ast.FunctionDef, ast.Call]:
    """The face of a component, and the one call of its worker."""
    body = ast.parse(source).body
    (face,) = (node for node in body if isinstance(node, ast.FunctionDef) and node.name == name)
    (call,) = (
        node
        for node in ast.walk(face)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "work"
    )
    return face, call


def artifact_of(value: ast.expr) -> str | None:
    """Whose path it is, of `NAME.path` and `getattr(NAME, "path", …)`; None of anything else."""
    match value:
        case ast.Attribute(ast.Name(name), "path"):
            return name
        case ast.Call(ast.Name("getattr"), [ast.Name(name), ast.Constant("path"), *_]):
            return name
    return None


def wanted(value: ast.expr, parameters: list[str]) -> str:
    """What the worker calls a value that it gets from the face, or "" where it passes none."""
    if artifact := artifact_of(value):
        return f"{artifact}_path"
    match value:
        case ast.Attribute(ast.Name(name), "uri"):
            return f"{name}_uri"
        case ast.Call(ast.Name("paths"), [ast.Name(first), *_]):
            return f"{first.removesuffix('s')}_paths"
    passed = [node.id for node in ast.walk(value) if isinstance(node, ast.Name)]
    return next((name for name in passed if name in parameters), "")


def faults(face: ast.FunctionDef, call: ast.Call) -> Iterator[str]:
    """What a call names otherwise than the face does; of a dataclass, what its fields are named."""
    parameters = [arg.arg for arg in face.args.args if ast.unparse(arg.annotation) != STATUS]
    for keyword in call.keywords:
        value = keyword.value
        if isinstance(value, ast.Call) and value.keywords:
            yield from faults(face, value)
        elif (name := wanted(value, parameters)) and keyword.arg != name:
            yield f"{keyword.arg}={ast.unparse(value)} is {name}="


@pytest.mark.parametrize("name", catalogue.names())
def test_a_worker_s_parameters_have_the_face_s_names(name: str) -> None:
    face, call = face_and_call((COMPONENTS / name / "component.py").read_text(), name)
    assert not call.args, "give the worker keywords"
    assert list(faults(face, call)) == []


def test_other_names_are_found() -> None:
    face, call = face_and_call(
        """
def card(
    model: Input[Model], site: str, sizes: list, parts: Input[List[Model]], end: STATUS
):
    work(
        model=model.path,
        output=getattr(model, "path", ""),
        parts=paths(parts),
        place=site,
        limits=Limits(size=tuple(sizes), site=site),
        state=end.state,
    )
""".replace("STATUS", STATUS),
        "card",
    )
    assert list(faults(face, call)) == [
        "model=model.path is model_path=",
        "output=getattr(model, 'path', '') is model_path=",
        "parts=paths(parts) is part_paths=",
        "place=site is site=",
        "size=tuple(sizes) is sizes=",
    ]
