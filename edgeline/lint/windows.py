"""A rule on servers that keep the last rows of each key, which a second one would lack."""

from __future__ import annotations

from collections.abc import Iterator

from edgeline.lint.documents import Document, Path_, Tree, at, mapped
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.sites.site import WINDOWS


def _replicas(tree: Tree) -> Iterator[Found]:
    keepers = {
        _key(document, document.kind, document.name): document
        for document in tree.of("Deployment", "StatefulSet", "InferenceService")
        if document.annotations.get(WINDOWS)
    }
    for document in keepers.values():
        kserve = document.kind == "InferenceService"
        yield from _several(document, ("spec", "predictor") if kserve else ("spec",))
    for document in tree.of("HorizontalPodAutoscaler"):
        target = mapped(document.value, "spec", "scaleTargetRef")
        if _key(document, target.get("kind"), target.get("name")) in keepers:
            yield from _several(document, ("spec",))


def _key(document: Document, kind: object, name: object) -> tuple[object, ...]:
    return kind, document.get("metadata", "namespace"), name


def _several(document: Document, path: Path_) -> Iterator[Found]:
    """That there may be more than one pod, by the first field that says so."""
    for field in ("replicas", "maxReplicas", "minReplicas"):
        count = at(document.value, *path, field)
        if isinstance(count, int) and count > 1:
            what = f"{field}: {count} divides the rows of a key among servers that keep windows"
            yield Found(document, (*path, field), what)
            return


rules = (
    Rule(
        "windows-replicas",
        "Each server keeps the rows that came to it, and its windows lack what went to others.",
        "have one pod, or a Deployment and Service for each part of the keys",
        _replicas,
        WARNING,
    ),
)
