"""Rules on container images and model addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from edgeline.lint.documents import Document, Path_, Tree, at, is_kustomization, listed
from edgeline.lint.rule import WARNING, Found, Rule

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
MODEL_FIELDS = ("storageUri", "sourceModelUri")
PIP = re.compile(r"\b(?:pip3?|uv pip|conda|apt-get|apk)\s+(?:-\S+\s+)*(?:install|add)\b")
NOT_OBJECTS = ("Kustomization", "Component", "CustomResourceDefinition", "ConfigMap")
OUT_OF_REACH = ("PipelineVersion", "TrainJob", "IR")


def images(tree: Tree) -> Iterator[tuple[Document, Path_, str]]:
    """Every container image of the tree, wherever it stands."""
    for document in tree.documents:
        if document.kind in NOT_OBJECTS or not document.kind:
            continue
        for path, value in document.values:
            if path and path[-1] == "image" and isinstance(value, str) and value:
                yield document, path, value


def repository(image: str) -> str:
    """An image's name without tag and digest."""
    name = image.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def _versions(tree: Tree) -> Iterator[Found]:
    for document, path, image, tag in _unpinned(tree):
        if tag not in ("", "latest"):
            yield Found(document, path, f"image {image} has no digest")


def _moving(tree: Tree) -> Iterator[Found]:
    for document, path, image, tag in _unpinned(tree):
        if tag in ("", "latest"):
            yield Found(document, path, f"image {image} has no version")


def _unpinned(tree: Tree) -> Iterator[tuple[Document, Path_, str, str]]:
    """Images without a digest, each with the tag that it has or that kustomize gives it."""
    entries = {
        str(entry.get("name")): entry
        for document in tree.documents
        if is_kustomization(document)
        for entry in listed(document.value, "images")
        if isinstance(entry, Mapping)
    }
    for document, path, image in images(tree):
        name = repository(image)
        entry = entries.get(name, {}) if document.kind not in OUT_OF_REACH else {}
        if DIGEST.search(image) or "{{" in image or entry.get("digest"):
            continue
        tag = image.partition("@")[0].removeprefix(name).removeprefix(":")
        yield document, path, image, str(entry.get("newTag") or tag)


def _models(tree: Tree) -> Iterator[Found]:
    for document, path, address in _model_addresses(tree):
        if not DIGEST.search(address):
            yield Found(document, path, f"model {address} has no digest")


def _model_addresses(tree: Tree) -> Iterator[tuple[Document, Path_, str]]:
    for document in tree.documents:
        for path, value in document.values:
            named = path and path[-1] in MODEL_FIELDS and isinstance(value, str)
            if named and value.startswith(("oci://", "oci+native://")):
                yield document, path, value


def _out_of_reach(tree: Tree) -> Iterator[Found]:
    fixed = {
        repository(image): document.kind
        for document, path, image in images(tree)
        if document.kind in OUT_OF_REACH
    }
    fixed |= {
        repository(address.partition("://")[2]): document.kind
        for document, _, address in _model_addresses(tree)
    }
    for document in tree.documents:
        if not is_kustomization(document):
            continue
        for index, entry in enumerate(listed(document.value, "images")):
            name = str(at(entry, "name"))
            if name in fixed:
                what = f"images cannot rewrite {name} in a {fixed[name]}"
                yield Found(document, ("images", index), what)


def _installs(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        if document.kind in NOT_OBJECTS or not document.kind:
            continue
        for path, value in document.values:
            if {"command", "args"}.isdisjoint(path) or not isinstance(value, str):
                continue
            if found := PIP.search(value):
                yield Found(document, path, f"runs `{found.group()}` when it starts")


rules = (
    Rule(
        "image-tag-moves",
        "An image without a tag, or with `latest`, is another one after each push.",
        "name it by digest (repository@sha256:...), or at least by a version",
        _moving,
    ),
    Rule(
        "image-not-pinned",
        "A version can be pushed again: what was tested is not what runs, and an air-gapped copy "
        "differs.",
        "name it by digest (repository@sha256:...); `edgeline images lock` writes them",
        _versions,
        WARNING,
    ),
    Rule(
        "model-not-pinned",
        "A model behind a tag changes without a commit; LocalModelCache never sees it change.",
        "add @sha256:... of the bundle's image",
        _models,
    ),
    Rule(
        "images-out-of-reach",
        "kustomize's `images` rewrites containers only: not executors inside a PipelineVersion, "
        "not TrainJob.spec.trainer.image, not storageUri.",
        "remove the entry and compile with the digest in the lock file",
        _out_of_reach,
    ),
    Rule(
        "installs-at-run-time",
        "Packages fetched at run time differ from run to run and fail where there is no network.",
        "put the package into the image",
        _installs,
    ),
)
