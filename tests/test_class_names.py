"""A public name is one class's or type's: who reads it needs no import to know which is meant."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
TYPES = {"Annotated", "Callable", "Counter", "Literal", "Mapping", "dict", "list", "set", "tuple"}


def type_in(node: ast.stmt) -> tuple[str, str] | None:
    """The name that a class or an alias of a type gives, and what an alias stands for."""
    if isinstance(node, ast.ClassDef):
        return node.name, ""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        value, name = node.value, node.targets[0].id
        is_type = isinstance(value, ast.Subscript) and ast.unparse(value.value) in TYPES
        if name[0].isupper() and not name.isupper() and (is_type or isinstance(value, ast.BinOp)):
            return name, ast.unparse(value)
    return None


def test_no_two_public_types_share_a_name():
    """But an alias of the same type: `Json` is `dict[str, Any]` wherever it is."""
    where: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for folder in ("edgeline", "components", "pipelines", "images"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if any(parent.is_symlink() for parent in file.parents):
                continue  # edgeline/components and its like: the same files
            for node in ast.parse(file.read_text()).body:
                found = type_in(node)
                if found and not found[0].startswith("_"):
                    place = f"{file.relative_to(ROOT)}:{node.lineno}"
                    where[found[0]].append((found[1], place))
    assert len(where) > 200
    unlike = {
        name: found
        for name, found in where.items()
        if len(found) > 1 and (len({of for of, _ in found}) > 1 or not found[0][0])
    }
    assert unlike == {}
