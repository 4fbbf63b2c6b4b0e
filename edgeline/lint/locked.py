"""A rule on the images of compiled versions: those of the lock file, or of declared registries.

Whoever can write a file into the folder of compiled versions could else have any image run with the
rights and the keys of the pipelines' tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeline import images as lock
from edgeline.environments.apply import image as mirrored
from edgeline.lint.documents import Document, Tree, listed, mapped
from edgeline.lint.environments import is_environment
from edgeline.lint.images import repository
from edgeline.lint.rule import Found, Rule
from edgeline.schedules import current


def _foreign(tree: Tree) -> Iterator[Found]:
    entries = lock.entries(lock.lock_file())
    locked = [lock.reference(name) for name in entries]
    for document in tree.of("PipelineVersion"):
        environment = _environment(tree, document)
        mirror = str(environment.get("registry") or "") if environment else ""
        declared = listed(environment.value, "registries") if environment else []
        allowed = {mirrored(each, mirror) for each in locked}
        repositories = {repository(each) for each in allowed}
        is_current = environment is not None and document.name in _current(tree, environment)
        root, pipeline = document.pipeline or ((), {})
        for label, executor in mapped(pipeline, "deploymentSpec", "executors").items():
            image = mapped(executor, "container").get("image")
            if not isinstance(image, str) or image in allowed:
                continue
            name = repository(image)
            # an older version has the images that were locked when it was compiled
            if name in repositories and not is_current:
                continue
            if any(isinstance(each, str) and _is_below(name, each) for each in declared):
                continue
            path = (*root, "deploymentSpec", "executors", label, "container", "image")
            yield Found(document, path, f"image {image} is not one of {lock.lock_file().name}")


def _environment(tree: Tree, version: Document) -> Document | None:
    """The environment that a version was compiled for: the file in the next folder above it."""
    by_folder = {
        Path(document.file).parent: document
        for document in tree.documents
        if is_environment(document)
    }
    found = (by_folder.get(folder) for folder in Path(version.file).parents)
    return next((document for document in found if document is not None), None)


def _current(tree: Tree, environment: Document) -> set[str]:
    """The versions that schedules of an environment take for the current ones."""
    folder = Path(environment.file).parent
    return {
        version
        for document in tree.documents
        if Path(document.file).name == current.FILE and folder in Path(document.file).parents
        for version in document.value.values()
        if isinstance(version, str)
    }


def _is_below(name: str, registry: str) -> bool:
    given = registry.rstrip("/")
    return bool(given) and (name == given or name.startswith(f"{given}/"))


rules = (
    Rule(
        "image-not-locked",
        "A version that nobody compiled can have any image, which then runs with the tasks' rights "
        "and keys.",
        "compile it with the lock file in use (EDGELINE_IMAGES), or name the registry of your own "
        "components' images in the field `registries` of its environment.yaml; lint that file with "
        "it, which also names a mirror",
        _foreign,
    ),
)
