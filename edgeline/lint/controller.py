"""What Argo's controller does with each workflow by default: KFP's own settings, or others.

Its `workflowDefaults` are one text in a ConfigMap, so that a kustomization replaces them whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from edgeline.formats import plain_yaml
from edgeline.lint.documents import Document, Tree, at, is_kustomization, listed, mapped
from edgeline.lint.rule import WARNING, Found, Rule

CONTROLLER = "workflow-controller-configmap"
TEXT = ("data", "workflowDefaults")
RETRIES = ("spec", "templateDefaults", "retryStrategy")
ON_FAILURE = ("Always", "OnFailure", "")  # with none, Argo's own: OnFailure


def retries_failures(tree: Tree) -> bool:
    """Whether a set_retry is heeded where a container fails, by a patch or settings in the tree."""
    policies = (at(defaults, *RETRIES, "retryPolicy") for _, defaults in _all(tree))
    return any(str(policy or "") in ON_FAILURE for policy in policies)


def writes_nodes_once(tree: Tree) -> bool:
    """Whether the settings that count in the tree have no retryStrategy for every node.

    A patch counts where a kustomization names it, or the component that it belongs to.
    """
    patches = [(each, defaults) for each, defaults in _all(tree) if each.patch]
    used = [defaults for each, defaults in patches if _is_used(each, tree)]
    own = [defaults for each, defaults in _all(tree) if not each.patch]
    return any(not at(defaults, *RETRIES) for defaults in used or own)


def _all(tree: Tree) -> Iterator[tuple[Document, Mapping[str, Any]]]:
    """The settings in a tree that say something of every workflow, with what they say."""
    for document in tree.documents:
        text = document.get(*TEXT)
        if document.kind != "ConfigMap" or document.name != CONTROLLER or not text:
            continue
        try:
            found = plain_yaml.read(str(text))
        except ValueError:
            continue
        yield document, mapped(found[0]) if found else {}


def _is_used(patch: Document, tree: Tree) -> bool:
    folder = PurePosixPath(patch.file).parent
    for document in filter(is_kustomization, tree.documents):
        at_home = PurePosixPath(document.file).parent == folder
        named = (PurePosixPath(str(each)).name for each in listed(document.value, "components"))
        if (at_home and document.kind == "Kustomization") or folder.name in named:
            return True
    return False


def _lost(tree: Tree) -> Iterator[Found]:
    found = list(_all(tree))
    for patch, defaults in found:
        kept = {path for path, _ in _leaves(defaults)}
        for other, wanted in found:
            lost = [path for path, _ in _leaves(wanted) if path not in kept]
            gone = sorted({".".join(path) for path in lost if path[:3] != RETRIES})
            if patch.patch and not other.patch and gone:
                what = f"it replaces {other.file}'s whole, which also sets {', '.join(gone)}"
                yield Found(patch, TEXT, what)


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, Mapping) or not value:
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, (*path, str(key)))


rules = (
    Rule(
        "workflow-defaults-lost",
        "The controller's workflowDefaults are one text, which a patch replaces whole: what else "
        "stood there, as how long ended workflows are kept, no longer holds.",
        "write that into the patch's text, too",
        _lost,
        WARNING,
    ),
)
