"""A rule on environment files, for which a pipeline is compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime

import msgspec

from edgeline.environments.environment import Environment
from edgeline.lint.documents import Document, Path_, Tree
from edgeline.lint.rule import Found, Rule

# what no other file has beside a name: a workflow of GitHub, for example, has `defaults`
OWN = {"object_store", "run_as_user", "beam_options", "image_pull_secrets", "registries"}


def is_environment(document: Document) -> bool:
    """Whether a file says where pipelines run."""
    return (
        "kind" not in document.value
        and "name" in document.value
        and bool(OWN & document.value.keys())
    )


def _refused(tree: Tree) -> Iterator[Found]:
    for document in filter(is_environment, tree.documents):
        try:
            msgspec.convert(document.value, Environment, builtin_types=(date, datetime))
        except msgspec.ValidationError as error:
            what = f"environment {document.value['name']} is not one ({error})"
            yield Found(document, _path(str(error)), what)


def _path(said: str) -> Path_:
    """Where msgspec found it: it ends with - at `$.object_store.root`."""
    found = re.search(r"`\$\.([^`]*)`$", said)
    parts = re.findall(r"[^.\[\]]+", found[1]) if found else []
    return tuple(int(part) if part.isdecimal() else part for part in parts)


rules = (
    Rule(
        "environment-refused",
        "Nothing is compiled or submitted for it.",
        "give what edgeline's own environments have there",
        _refused,
    ),
)
