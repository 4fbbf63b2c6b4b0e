"""`edgeline images closure`: every image that a site needs, from pipelines and manifests.

Looked for in KFP's IR (executors, alone or in a PipelineVersion), in pods of any kind
(containers, image volumes), in trainers and runtimes, and in `oci://` models. Objects that
only hold text (ConfigMap, Secret, CustomResourceDefinition) are not looked into.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import plain_file, plain_yaml
from edgeline.stores import registry

SUFFIXES = (".yaml", ".yml", ".json")
TEXT_ONLY = ("ConfigMap", "Secret", "CustomResourceDefinition", "Kustomization", "Component")
MODEL_SCHEMES = ("oci://", "oci+native://")
MODEL_KEYS = ("storageUri", "sourceModelUri", "uri")


@dataclass(frozen=True, order=True)
class Use:
    """An image, the file that names it, and where in the file."""

    image: str
    file: str
    place: str


def closure(paths: Sequence[Path]) -> list[Use]:
    """All images that files name, and those that folders of YAML and JSON name; sorted.

    Raises:
        UsageError: a file is missing or is not YAML, or there is no image at all.
        EdgelineError: an image is known only when a pipeline runs (so that the list would not be
            whole).
    """
    uses = sorted({use for file in _files(paths) for use in _in_file(file)})
    if not uses:
        raise UsageError(f"No image is named in {', '.join(map(str, paths))}.")
    for use in uses:
        if "{{" in use.image or "${" in use.image:
            raise EdgelineError(
                f"{use.file}, {use.place}: image {use.image!r} is known only at run time, so what "
                "a site needs cannot be told: name the image in the pipeline."
            )
    return uses


def mirror(uses: Sequence[Use], to: str) -> Iterator[tuple[str, str]]:
    """Copy each image once to `<to>/<its last name>`, all platforms, digests unchanged.

    An environment whose `registry` is `to` names its images so.

    Args:
        uses: what `closure` found.
        to: a registry, or a registry and a path in it.

    Yields:
        an image and its copy, once it is there.

    Raises:
        EdgelineError: two images would be one there, or a registry cannot be reached, lacks
            the image or refuses it.
    """
    copies: dict[str, str] = {}
    for image in sorted({use.image for use in uses}):
        name = image.rpartition("/")[2]
        if name in copies:
            raise EdgelineError(
                f"{copies[name]} and {image} would both be {name} in {to}: mirror them apart."
            )
        copies[name] = image
    for name, image in copies.items():
        yield image, registry.copy(image, f"{to.rstrip('/')}/{name}")


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES)
        elif path.is_file():
            yield path
        else:
            raise UsageError(f"There is no file or folder {path}.")


def _in_file(file: Path) -> Iterator[Use]:
    try:
        documents = plain_yaml.read(plain_file.read_text(file))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{file} cannot be read as YAML ({reason}).") from error
    for document in documents:
        yield from _in_document(document, str(file))


def _in_document(document: object, file: str) -> Iterator[Use]:
    if not isinstance(document, dict) or document.get("kind") in TEXT_ONLY:
        return
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _in_document(item, file)
        return
    about = document.get("metadata") or document.get("pipelineInfo")
    name = about.get("name") if isinstance(about, dict) else ""
    start = "/".join(map(str, filter(None, [document.get("kind", "pipeline"), name])))
    for image, place in _images(document, ()):
        yield Use(image, file, " ".join(filter(None, [start, place])))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _images(node: object, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for number, item in enumerate(node):
            name = item.get("name") if isinstance(item, dict) else None
            yield from _images(item, (*path, str(name or number)))
    elif isinstance(node, dict):
        place = ".".join(path[-2:])
        for key, value in node.items():
            if key == "image" and isinstance(value, str) and value:
                yield value, place
            elif key == "image" and isinstance(value, dict) and _is_text(value.get("reference")):
                yield value["reference"], place  # an image volume
            elif key in MODEL_KEYS and isinstance(value, str) and value.startswith(MODEL_SCHEMES):
                yield value.partition("://")[2], f"{place}.{key}".lstrip(".")
            else:
                yield from _images(value, (*path, str(key)))
