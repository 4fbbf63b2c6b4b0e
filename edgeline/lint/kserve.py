"""Rules on what KServe takes without a word and then does otherwise, or never starts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgeline.lint.documents import Document, Tree, at, mapped
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.sites.kserve import BASE, BEFORE_STANDARD, KNATIVE, MODE, STANDARD, too_long
from edgeline.sites.site import MODEL

IN_STANDARD = (STANDARD, BEFORE_STANDARD)
AUTOSCALER = "serving.kserve.io/autoscalerClass"  # an annotation; KEDA scales to nothing
_IGNORED = (
    (IN_STANDARD, "canaryTrafficPercent", "canaryTrafficPercent divides no traffic"),
    (IN_STANDARD, "minReplicas", "minReplicas: 0 is taken for 1"),
    (KNATIVE, "deploymentStrategy", "deploymentStrategy changes nothing"),
    (KNATIVE, "autoScaling", "autoScaling scales nothing"),
)
# an address in S3 that ends neither in a slash nor in the name of a file
_PREFIX = re.compile(r"(edgeline\+)?s3://[^/\s]+/(\S+/)?(?!\S*\.[A-Za-z][A-Za-z0-9]*$)[^/\s]+")


def _ignored(tree: Tree) -> Iterator[Found]:
    for document in tree.of("InferenceService"):
        # KServe's configuration decides where none is written; as it is installed it says Knative
        mode = document.annotations.get(MODE)
        scales_to_nothing = document.annotations.get(AUTOSCALER) == "keda"
        for component in ("predictor", "transformer", "explainer"):
            part = mapped(document.value, "spec", component)
            for modes, field, what in _IGNORED:
                if field not in part or mode not in (None, *modes):
                    continue
                if field == "minReplicas" and (part[field] != 0 or scales_to_nothing):
                    continue
                unsaid = "" if mode else f"no mode is written, and in {modes[0]} "
                yield Found(document, ("spec", component, field), f"{unsaid}{what}")


def _too_long(tree: Tree) -> Iterator[Found]:
    for document in tree.of("InferenceService"):
        namespace = str(document.get("metadata", "namespace") or "")
        mode = str(document.annotations.get(MODE) or "")
        longest = "transformer" if document.get("spec", "transformer") else "predictor"
        if what := too_long(document.name, namespace, longest, mode):
            yield Found(document, ("metadata", "name"), what)


def _prefixes(tree: Tree) -> Iterator[Found]:
    for document in tree.of("InferenceService"):
        path = ("spec", "predictor", "model", "storageUri")
        uri = str(document.get(*path) or "")
        if _PREFIX.fullmatch(uri):
            others = f"{uri}0, {uri}1, ..." if uri[-1].isdigit() else f"{uri}-2, {uri}2/1, ..."
            yield Found(document, path, f"{uri} is also the beginning of {others}")


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
        "KServe ignores it in that mode and says nothing.",
        f"leave it out, or write the mode that heeds it ({MODE}); `edgeline serve --rollouts` "
        "divides traffic between versions",
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
        "KServe fetches all that begins so: of s3://models/taxi/1 versions 10, 11, ... as well.",
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
