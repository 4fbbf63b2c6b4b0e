"""A public class's name is one class's: who reads it needs no import to know which is meant."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_two_public_classes_share_a_name():
    where: dict[str, list[str]] = defaultdict(list)
    for folder in ("edgeline", "components", "pipelines", "images"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if any(parent.is_symlink() for parent in file.parents):
                continue  # edgeline/components and its like: the same files
            for node in ast.parse(file.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    where[node.name].append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert len(where) > 200
    assert {name: places for name, places in where.items() if len(places) > 1} == {}
