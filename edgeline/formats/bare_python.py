"""Python source that runs as it did, in as few bytes as can be without another program."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

Position = tuple[int, int]  # line from 1, column in characters from 0

_DOCUMENTED = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IGNORED = (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER)
# of Python 3.12 on, where the parts of an f-string are tokens of their own
_BEGIN, _END = (getattr(tokenize, f"FSTRING_{end}", None) for end in ("START", "END"))


@lru_cache(maxsize=256)  # kfp writes a component's source once for each of its tasks
def bare_source(source: str) -> str:
    """Python source without docstrings, comments, empty lines and more indentation than it needs.

    What is left is the same program: their syntax trees are compared. A source that reads
    docstrings, or that this Python does not read, is left as it is.
    """
    if "__doc__" in source or "getsource" in source:
        return source
    try:
        tree = ast.parse(source)
        bare = "".join(_written(source, _cut_docstrings(tree, source.split("\n"))))
        return bare if ast.dump(ast.parse(bare)) == ast.dump(tree) else source
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return source


@dataclass(frozen=True)
class _Docstring:
    """Where a docstring's statement is, and what stands there without it."""

    begin: Position
    end: Position
    instead: str


def _cut_docstrings(tree: ast.Module, lines: list[str]) -> list[_Docstring]:
    """Take the docstrings out of a tree; a body that has nothing else becomes `pass`."""
    cut = []
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            told = node.body.pop(0)
            instead = ""
            if not node.body and not isinstance(node, ast.Module):
                node.body.append(ast.Pass())
                instead = "pass"
            begin = _place(lines, told.lineno, told.col_offset)
            end = _place(lines, told.end_lineno or 0, told.end_col_offset or 0)
            cut.append(_Docstring(begin, end, instead))
    return cut


def _place(lines: list[str], line: int, column: int) -> Position:
    """Where a syntax tree, whose columns are bytes, has something, as tokens have it."""
    return line, len(lines[line - 1].encode()[:column].decode())


def _written(source: str, cut: list[_Docstring]) -> Iterator[str]:
    """A source's tokens but for docstrings and comments; what is in brackets is on one line."""
    depth = 0
    before = ""  # the last token on this line
    ended: Position = (0, 0)  # and where it ended
    dropped: _Docstring | None = None
    for token in _tokens(source):
        if token.type in (tokenize.INDENT, tokenize.DEDENT):
            depth += 1 if token.type == tokenize.INDENT else -1
            continue
        within = next((one for one in cut if one.begin <= token.start < one.end), None)
        text = token.string
        if within:
            if within is dropped:
                continue
            dropped, text = within, within.instead
        if token.type == tokenize.NEWLINE:
            if before:  # else the line was a docstring
                yield "\n"
            before = ""
            continue
        if not text:
            continue
        if not before:
            yield " " * depth
        elif token.start[0] == ended[0]:
            yield token.line[ended[1] : token.start[1]]
        elif before not in "([{" and text not in ")]}":
            yield " "
        yield text
        before, ended = text, token.end


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """A source's tokens, each f-string one of them."""
    lines = source.split("\n")
    opened: list[Position] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == _BEGIN:
            opened.append(token.start)
        elif token.type == _END:
            begin = opened.pop()
            if not opened:
                text = _between(lines, begin, token.end)
                yield tokenize.TokenInfo(tokenize.STRING, text, begin, token.end, token.line)
        elif not opened and token.type not in _IGNORED:
            yield token


def _between(lines: list[str], begin: Position, end: Position) -> str:
    (first, left), (last, right) = begin, end
    if first == last:
        return lines[first - 1][left:right]
    middle = lines[first : last - 1]
    return "\n".join([lines[first - 1][left:], *middle, lines[last - 1][:right]])
