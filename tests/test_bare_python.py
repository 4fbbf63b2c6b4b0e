"""Source without docstrings and comments is the same program."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from edgeline.formats.bare_python import bare_source

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

SOURCE = '''
"""Of the module."""

# a comment
def face(
    data: str,  # noqa: A002
    words: list = ["# no comment", """no
    docstring"""],
):
    """Of the face.

    Args:
        data: where.
    """
    text = "\\"\\"\\"quoted\\"\\"\\" # kept"
    "a string that is not a docstring"

    class Inner:
        \'\'\'Of a class.\'\'\'

    def only():
        "Of a function that has nothing else."

    async def later(): "On one line."

    long = (text +  # why
        f"{data!r} {len(words)}"
        "more") \\
        + "end"
    return [long, Inner, only, later,
    ]
'''

BARE = '''def face(data: str, words: list = ["# no comment", """no
    docstring"""],):
 text = "\\"\\"\\"quoted\\"\\"\\" # kept"
 "a string that is not a docstring"
 class Inner:
  pass
 def only():
  pass
 async def later(): pass
 long = (text + f"{data!r} {len(words)}" "more") + "end"
 return [long, Inner, only, later,]
'''


def test_docstrings_comments_and_indentation_go_and_nothing_else() -> None:
    assert bare_source(SOURCE) == BARE
    namespaces: list[dict[str, object]] = [{}, {}]
    for source, namespace in zip((SOURCE, BARE), namespaces, strict=True):
        exec(source, namespace)
        namespace["said"] = namespace["face"]("d")[0]  # type: ignore[operator]
    assert namespaces[0]["said"] == namespaces[1]["said"]


@pytest.mark.parametrize(
    "source",
    [
        'def a():\n    "Told."\n    return a.__doc__\n',
        'def a():\n    "Used."\n    import inspect\n    return inspect.getsource(a)\n',
        'def a():\n    "Told."; return 1\n',
        "def a(:\n",
        "x = '\n",
    ],
)
def test_a_source_that_it_might_change_is_left_as_it_is(source: str) -> None:
    assert bare_source(source) == source


def test_every_component_s_source_is_the_same_program_without_its_docstrings() -> None:
    for file in sorted((ROOT / "components").rglob("*.py")):
        source = file.read_text("utf-8")
        bare = bare_source(source)
        assert _program(bare) == _program(source), file
        if "__doc__" not in source and "getsource" not in source:
            assert len(bare) < len(source) or not source.strip(), file


def _program(source: str) -> str:
    """The syntax tree, without what stands alone as a text or as `pass`."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [below for below in body if not _says_nothing(below)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return isinstance(node.value.value, str)
    return isinstance(node, ast.Pass)
