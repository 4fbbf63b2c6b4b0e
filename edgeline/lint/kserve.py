"""Rules on what KServe takes without a word and then does otherwise, or never starts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgeline.lint.documents import Document, Tree, at, mapped
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.sites.kserve import BASE, BEFORE_STANDARD, MODE, STANDARD, too_long
from edgeline.sites.site import MODEL

WITHOUT_KNATIVE = (STANDARD, BEFORE_STANDARD)
# the last part of the path is a version's number, and no slash ends it
_VERSION = re.compile(r"(s3|gs)://\S+/[0-9]+")


def _ignored(tree: Tree) -> Iterator[Found]:
    for document in tree.of("InferenceService"):
        if document.annotations.get(MODE) not in WITHOUT_KNATIVE:
            continue
        for component in ("predictor", "transformer", "explainer"):
            part = mapped(document.value, "spec", component)
            if "canaryTrafficPercent" in part:
                path = ("spec", component, "canaryTrafficPercent")
                yield Found(document, path, "canaryTrafficPercent divides no traffic")
            if part.get("minReplicas") == 0:
                path = ("spec", component, "minReplicas")
                yield Found(document, path, "minReplicas: 0 is taken for 1")


def _too_long(tree: Tree) -> Iterator[Found]:
    for document in tree.of("InferenceService"):
        namespace = str(document.get("metadata", "namespace") or "")
        if what := too_long(document.name, namespace):
            yield Found(document, ("metadata", "name"), what)


def _prefixes(tree: Tree) -> Iterator[Found]:
    for document in tree.of("InferenceService"):
        path = ("spec", "predictor", "model", "storageUri")
        uri = str(document.get(*path) or "")
        if _VERSION.fullmatch(uri):
            yield Found(document, path, f"{uri} is also the beginning of {uri}0, {uri}1, ...")


def _modelcars(tree: Tree) -> Iterator[Found]:
    for document in tree.of("InferenceService"):
        path = ("spec", "predictor", "model", "storageUri")
        uri = str(document.get(*path) or "")
        without_shell = not document.annotations.get(BASE)
        if uri.startswith("oci://") and without_shell and _is_ours(document):
            yield Found(document, path, "the image of a bundle has no shell for KServe's sidecar")


def _is_ours(document: Document) -> bool:
    return bool(document.annotations.get(MODEL)) or (
        at(document.value, "spec", "predictor", "model", "runtime") == "edgeline-litert"
    )


rules = (
    Rule(
        "kserve-ignores",
        "Without Knative, KServe ignores it and says nothing.",
        "leave it out; `edgeline serve --rollouts` divides traffic between versions",
        _ignored,
        WARNING,
    ),
    Rule(
        "kserve-name-too-long",
        "KServe takes it, never starts it, and says ReconcileFailed in a condition alone.",
        "give it a shorter name",
        _too_long,
    ),
    Rule(
        "kserve-fetches-more",
        "KServe fetches all that begins so: versions 10, 11, ... lie beside version 1.",
        "end the address with a slash",
        _prefixes,
    ),
    Rule(
        "kserve-modelcar",
        "KServe starts `sh` in it, and the pod never becomes ready.",
        "say oci+native:// (KServe 0.20, ImageVolume on), name the store, or render it with "
        "--model-from modelcar",
        _modelcars,
    ),
)
