"""A rule on servers that everybody may call who gets there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from edgeline.lint.documents import Tree, at, listed
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.lint.security import containers
from edgeline.sites.tokens import NONE

_OPTION = "--tokens"


def _open(tree: Tree) -> Iterator[Found]:
    guarded = set(_guarded(tree))
    for document, path, container, _ in containers(tree):
        arguments = [str(each) for each in listed(container, "args")]
        if _is_open(arguments) and at(document.value, "metadata", "namespace") not in guarded:
            what = f"container {container.get('name')} takes calls of everybody ({_OPTION} {NONE})"
            yield Found(document, (*path, "args"), what)


def _is_open(arguments: Sequence[str]) -> bool:
    return f"{_OPTION}={NONE}" in arguments or (_OPTION, NONE) in pairwise(arguments)


def _guarded(tree: Tree) -> Iterator[Any]:
    """The namespaces that have a NetworkPolicy, also within an object that brings others."""
    for document in tree.documents:
        for _, value in document.values:
            if isinstance(value, Mapping) and value.get("kind") == "NetworkPolicy":
                yield at(value, "metadata", "namespace")


rules = (
    Rule(
        "open-server",
        "Without tokens whoever reaches the pod may ask its models.",
        f"give it {_OPTION} with a file of a Secret, or a NetworkPolicy that says who reaches it",
        _open,
        WARNING,
    ),
)
