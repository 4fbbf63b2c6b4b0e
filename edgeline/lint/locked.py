"""Rules on versions that nobody compiled.

Whoever can write a file into a team's repository could else have any image, or any command in one
of ours, run with the rights and the keys of the pipelines' tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline import images as lock
from edgeline.environments.apply import image as mirrored
from edgeline.lint.documents import Document, Path_, Tree, at, listed, mapped
from edgeline.lint.environments import is_environment
from edgeline.lint.images import repository
from edgeline.lint.rule import Found, Rule
from edgeline.schedules import current

# of environments/NAME in a team's repository: the file, and the folder of compiled versions
ENVIRONMENT, FOLDER = "environment.yaml", "pipelines"


@dataclass(frozen=True)
class AllowedImages:
    """What may run in an environment.

    Attributes:
        locked: images of the lock, as the environment's mirror has them.
        declared: the environment's `registries`.
    """

    locked: frozenset[str]
    declared: tuple[str, ...]

    @classmethod
    def of(cls, environment: Document | None) -> AllowedImages:
        mirror = str(environment.get("registry") or "") if environment else ""
        declared = listed(environment.value, "registries") if environment else []
        names = lock.entries(lock.lock_file())
        return cls(
            frozenset(mirrored(lock.reference(name), mirror) for name in names),
            tuple(each for each in declared if isinstance(each, str)),
        )

    def has(self, image: str, of_any_lock: bool = False) -> bool:
        """Whether an image is one of them, or of an earlier lock's."""
        name = repository(image)
        return (
            image in self.locked
            or (of_any_lock and name in map(repository, self.locked))
            or any(_is_below(name, each) for each in self.declared)
        )


def _foreign(tree: Tree) -> Iterator[Found]:
    for document in _versions(tree):
        environment = _environment(tree, document)
        allowed = AllowedImages.of(environment)
        is_current = environment is not None and document.name in _current(tree, environment)
        root, pipeline = document.pipeline or ((), {})
        for place, executor in _executors(pipeline):
            image = mapped(executor, "container").get("image")
            # an older version has the images that were locked when it was compiled
            if isinstance(image, str) and not allowed.has(image, of_any_lock=not is_current):
                yield _not_locked(document, (*root, *place, "container", "image"), image)
    for document in tree.documents:
        for path, value in document.values:
            if path and path[-1] == "sites" and isinstance(value, list):
                allowed = AllowedImages.of(_environment(tree, document))
                for index, site in enumerate(value):
                    image = at(site, "server")
                    if isinstance(image, str) and image and not allowed.has(image):
                        yield _not_locked(document, (*path, index, "server"), image)


def _not_locked(document: Document, path: Path_, image: str) -> Found:
    return Found(document, path, f"image {image} is not one of {lock.lock_file().name}")


def _elsewhere(tree: Tree) -> Iterator[Found]:
    environments = (each for each in tree.documents if Path(each.file).name == ENVIRONMENT)
    homes = {Path(each.file).parent for each in filter(is_environment, environments)}
    compiled = {
        each.name
        for each in _versions(tree)
        if {home / FOLDER for home in homes}.intersection(Path(each.file).parents)
    }
    repositories = {home.parent.parent for home in homes}  # of environments/NAME
    for document in _versions(tree):
        within = repositories.intersection(Path(document.file).parents)
        if within and document.name not in compiled:
            what = f"PipelineVersion {document.name} is in no environment's folder {FOLDER}"
            yield Found(document, ("metadata", "name"), what)


def _versions(tree: Tree) -> Iterator[Document]:
    """Patches, too: a kustomization may call by that name what something else applies."""
    return (each for each in tree.documents if each.kind == "PipelineVersion")


def _executors(pipeline: Mapping[str, Any]) -> Iterator[tuple[Path_, Mapping[str, Any]]]:
    """What tasks run, with its place: the server reads a field by its name in the message, too."""
    for field in ("deploymentSpec", "deployment_spec"):
        for label, executor in mapped(pipeline, field, "executors").items():
            yield (field, "executors", label), executor


def _environment(tree: Tree, document: Document) -> Document | None:
    """The environment of a version or a schedule: the file in the next folder above it.

    What kustomize has built of a version lies elsewhere, under the version's name.
    """
    by_folder = {
        Path(document.file).parent: document
        for document in tree.documents
        if is_environment(document)
    }
    same = [each for each in _versions(tree) if document.name and each.name == document.name]
    files = [document.file, *(each.file for each in same)]
    found = (by_folder.get(folder) for file in files for folder in Path(file).parents)
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
        "version-elsewhere",
        "The gate compiles that folder anew and compares it; a version from elsewhere would be the "
        "newest one of its pipeline, with whatever it runs.",
        "compile it with `edgeline compile --kubernetes -o ENVIRONMENT/pipelines/`",
        _elsewhere,
        is_gate=True,
    ),
    Rule(
        "image-not-locked",
        "A version that nobody compiled can have any image, which then runs with the tasks' rights "
        "and keys.",
        "compile it with the lock file in use (EDGELINE_IMAGES), or name the registry of your own "
        "components' images in the field `registries` of its environment.yaml; lint that file with "
        "it, which also names a mirror",
        _foreign,
        is_gate=True,
    ),
)
