"""The YAML and JSON below a folder as documents that know the line of each of their values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgeline.errors import UsageError
from edgeline.formats import plain_file
from edgeline.formats.plain_yaml import (
    MappingNode,
    Node,
    SequenceNode,
    YamlError,
    nodes,
)

SUFFIXES = (".yaml", ".yml", ".json")
SKIPPED = {".git", ".venv", "node_modules"}  # in the folder where the linter is started

Path_ = tuple[str | int, ...]  # keys and indices that lead to a value


@dataclass(frozen=True)
class Document:
    """One YAML document of a file.

    Attributes:
        file: relative to where the linter was started, with forward slashes.
        value: the document; always a mapping.
        patch: whether a kustomization names the file as a patch: not an object of its own.
    """

    file: str
    index: int
    value: Mapping[str, Any]
    node: Node
    patch: bool = False

    @property
    def kind(self) -> str:
        """`kind` of a manifest, `IR` for a compiled pipeline, else empty."""
        if "kind" not in self.value and "pipelineInfo" in self.value and "root" in self.value:
            return "IR"
        if "kind" not in self.value and Path(self.file).stem == "kustomization":
            return "Kustomization"  # which may leave it out
        return _text(self.value.get("kind"))

    @property
    def group(self) -> str:
        """The API group; empty for the core one."""
        version = _text(self.value.get("apiVersion"))
        return version.rpartition("/")[0]

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return _text(self.get("metadata", "name"))

    @property
    def annotations(self) -> Mapping[str, str]:
        """`metadata.annotations`."""
        found = self.get("metadata", "annotations")
        return found if isinstance(found, Mapping) else {}

    @property
    def labels(self) -> Mapping[str, str]:
        """`metadata.labels`."""
        found = self.get("metadata", "labels")
        return found if isinstance(found, Mapping) else {}

    @property
    def pipeline(self) -> tuple[Path_, Mapping[str, Any]] | None:
        """The compiled pipeline in it, and where, if there is one."""
        if self.kind == "IR":
            return (), self.value
        spec = self.get("spec", "pipelineSpec")
        if self.kind == "PipelineVersion" and isinstance(spec, Mapping):
            return ("spec", "pipelineSpec"), spec
        return None

    def get(self, *path: str | int) -> Any:
        """The value at a path, or None."""
        return at(self.value, *path)

    def line(self, path: Path_ = ()) -> int:
        """The line, from 1, where the value at a path begins, or the nearest above it."""
        node = self.node
        line = node.start_mark.line + 1
        for step in path:
            if isinstance(node, MappingNode):
                found = next((pair for pair in node.value if pair[0].value == str(step)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, SequenceNode) and isinstance(step, int):
                if step >= len(node.value):
                    break
                node = node.value[step]
                line = node.start_mark.line + 1
        return line

    @cached_property
    def values(self) -> tuple[tuple[Path_, Any], ...]:
        """Every value in it with its path, from the outside in."""
        return tuple(_walk((), self.value))


@dataclass(frozen=True)
class Unreadable:
    """A file that is not YAML, and why."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class Tree:
    """Everything that was read."""

    documents: tuple[Document, ...]
    unreadable: tuple[Unreadable, ...]
    templates: Mapping[str, str]  # files of Helm charts, which are not YAML: name and text

    def of(self, *kinds: str) -> Iterator[Document]:
        """The documents of some kinds that are objects of their own."""
        return (entry for entry in self.documents if entry.kind in kinds and not entry.patch)

    def platform_of(self, document: Document) -> Mapping[str, Any]:
        """What a compiled pipeline needs of a platform: in its manifest, or the file's next
        document; empty where it needs nothing."""
        if document.kind == "PipelineVersion":
            return mapped(document.value, "spec", "platformSpec")
        place = (document.file, document.index + 1)
        beside = (other.value for other in self.documents if (other.file, other.index) == place)
        return next((value for value in beside if "platforms" in value), {})


def read(paths: Sequence[str | Path]) -> Tree:
    """Read files, and folders with all that is below them.

    Raises:
        EdgelineError: a path is not there, or nothing in it is YAML or JSON.
    """
    documents: list[Document] = []
    unreadable: list[Unreadable] = []
    templates: dict[str, str] = {}
    files = [file for path in paths for file in _files(Path(path))]
    for file in dict.fromkeys(files):
        name = file.as_posix()
        try:
            text = plain_file.read_text(file)
            if _of_chart(file):
                templates[name] = text
                continue
            documents += _parse(name, text)
        except YamlError as error:
            # the end of the file is beyond its lines
            line = max(1, min(error.line, len(text.splitlines())))
            unreadable.append(Unreadable(name, line, error.reason))
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            unreadable.append(Unreadable(name, 1, reason))
    if not (documents or unreadable or templates):
        what = (
            f"no object in a {' or '.join(SUFFIXES)} file" if files else f"no {', '.join(SUFFIXES)}"
        )
        raise UsageError(
            f"{', '.join(map(str, paths))} holds {what}: name the folder of the manifests or a "
            "compiled pipeline."
        )
    return Tree(tuple(_mark_patches(documents)), tuple(unreadable), templates)


def is_kustomization(document: Document) -> bool:
    """Whether it is a `kustomization.yaml`, and not one of Flux's Kustomizations."""
    group = document.group or "kustomize.config.k8s.io"
    return document.kind in ("Kustomization", "Component") and group == "kustomize.config.k8s.io"


def at(value: Any, *path: str | int) -> Any:
    """What lies at a path in nested mappings and sequences, or None."""
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def listed(value: Any, *path: str | int) -> list[Any]:
    """The list at a path; empty where something else is there."""
    found = at(value, *path)
    return found if isinstance(found, list) else []


def mapped(value: Any, *path: str | int) -> Mapping[str, Any]:
    """The mapping at a path; empty where something else is there."""
    found = at(value, *path)
    return found if isinstance(found, Mapping) else {}


def dotted(path: Path_) -> str:
    """A path as people write it: `spec.containers[0].image`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for below in sorted(path.rglob("*")):
            if below.suffix in SUFFIXES and below.is_file() and not _is_skipped(below):
                yield below
    else:
        raise UsageError(f"{path} is not there: name a file or a folder to lint.")


def _is_skipped(file: Path) -> bool:
    """A folder of such a name that lies deeper may be applied like any other."""
    here = Path.cwd()
    return any(file.resolve().is_relative_to(here / name) for name in SKIPPED)


def _of_chart(file: Path) -> bool:
    folders = [parent for parent in file.parents if parent.name == "templates"]
    return any((folder.parent / "Chart.yaml").is_file() for folder in folders)


def _parse(name: str, text: str) -> Iterator[Document]:
    index = 0
    for node, values in nodes(text):
        value = values()
        if isinstance(value, Mapping):
            for entry_value, entry_node in _listed(value, node):
                yield Document(name, index, entry_value, entry_node)
                index += 1


def _listed(value: Mapping[str, Any], node: Node) -> Iterator[tuple[Mapping[str, Any], Node]]:
    """The document, or where it is a list its items: kubectl prints a `List`, and takes apart what
    has another name that ends so."""
    items = value.get("items")
    if (
        _text(value.get("kind")).endswith("List")
        and isinstance(items, list)
        and isinstance(node, MappingNode)
    ):
        below = next(entry[1] for entry in node.value if entry[0].value == "items")
        for item, item_node in zip(items, below.value, strict=True):
            if isinstance(item, Mapping):
                yield item, item_node
    else:
        yield value, node


def _walk(path: Path_, value: Any) -> Iterator[tuple[Path_, Any]]:
    yield path, value
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _walk((*path, key), below)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _walk((*path, index), below)


def _mark_patches(documents: list[Document]) -> Iterator[Document]:
    patches: set[str] = set()
    for document in documents:
        if is_kustomization(document):
            folder = Path(document.file).parent
            for key in ("patches", "patchesStrategicMerge", "patchesJson6902"):
                for entry in listed(document.value, key):
                    name = entry.get("path") if isinstance(entry, Mapping) else entry
                    if isinstance(name, str) and re.fullmatch(r"[^\n]+\.(ya?ml|json)", name):
                        named = (folder / name).resolve()
                        if named.is_relative_to(folder.resolve()):  # as kustomize takes it
                            patches.add(str(named))
    for document in documents:
        patch = _normal(Path(document.file)) in patches
        yield Document(document.file, document.index, document.value, document.node, patch)


def _normal(path: Path) -> str:
    return str(path.resolve())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
