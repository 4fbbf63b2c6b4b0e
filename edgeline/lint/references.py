"""Rules on what the files of a team's repository name: folders, files and each other.

Argo CD, Flux and kustomize say it, too, but after the merge and each at its own place.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from edgeline.lint.documents import Document, Path_, Tree, at, is_kustomization, listed
from edgeline.lint.gitops import EXAMPLE, is_below
from edgeline.lint.rule import Found, Rule

FLUX = "kustomize.toolkit.fluxcd.io"
_DESTINATIONS: Path_ = ("spec", "destinations")
_DESTINATION: Path_ = ("spec", "destination", "namespace")
_LISTS = ("resources", "components", "configurations", "crds", "patchesStrategicMerge")
_GENERATORS = ("configMapGenerator", "secretGenerator")


def _other_repository(tree: Tree) -> Iterator[Found]:
    allowed = {
        document.name: listed(document.value, "spec", "sourceRepos")
        for document in tree.of("AppProject")
    }
    for document in tree.of("Application"):
        url, project = document.get("spec", "source", "repoURL"), document.get("spec", "project")
        known = allowed.get(project) if isinstance(project, str) else None
        if known is None or not isinstance(url, str):
            continue
        if not any(fnmatchcase(url, str(pattern)) for pattern in known):
            what = f"the project {project} does not allow {url}"
            yield Found(document, ("spec", "source", "repoURL"), what)


def _other_namespace(tree: Tree) -> Iterator[Found]:
    """Of an Application, and of what lies below its path."""
    allowed = {
        document.name: [at(entry, "namespace") for entry in listed(document.value, *_DESTINATIONS)]
        for document in tree.of("AppProject")
    }
    for document in tree.of("Application"):
        project = document.get("spec", "project")
        known = allowed.get(project) if isinstance(project, str) else None
        if known is None:
            continue
        for other, path in ((document, _DESTINATION), *_namespaced(tree, document)):
            namespace = other.get(*path)
            if not isinstance(namespace, str):
                continue
            if not any(fnmatchcase(namespace, str(pattern)) for pattern in known):
                what = f"the project {project} does not allow the namespace {namespace}"
                yield Found(other, path, what)


def _namespaced(tree: Tree, application: Document) -> Iterator[tuple[Document, Path_]]:
    folder = str(application.get("spec", "source", "path") or "").strip("/")
    below = [each for each in tree.documents if folder and is_below(each.file, folder)]
    renamed = [each for each in below if is_kustomization(each) and each.get("namespace")]
    if renamed:  # which gives all that it builds its own
        yield from ((each, ("namespace",)) for each in renamed)
        return
    for each in below:
        if each.kind and not each.patch:
            yield each, ("metadata", "namespace")


def _no_folder(tree: Tree) -> Iterator[Found]:
    """Folders of this repository; a template, whose repository is an example, has none yet."""
    repositories = {True: set[str](), False: set[str]()}
    for each in tree.of("GitRepository"):
        repositories[_is_example(each, "spec", "url")].add(each.name)
    templates = repositories[True] - repositories[False]
    for document in tree.documents:
        path: Path_ = ("spec", "path")
        if _is_example(document, "spec", "source", "repoURL"):
            continue
        if document.get("spec", "sourceRef", "name") in templates:
            continue
        if document.kind == "Application":
            path = ("spec", "source", "path")
        elif document.kind != "Kustomization" or document.group != FLUX:
            continue
        named = document.get(*path)
        roots = _roots(tree, named) if isinstance(named, str) else set()
        if roots and not any((root / named).is_dir() for root in roots):
            yield Found(document, path, f"there is no folder {named}")


def _is_example(document: Document, *path: str) -> bool:
    url = document.get(*path)
    return isinstance(url, str) and bool(EXAMPLE.match(url))


def _roots(tree: Tree, named: str) -> set[Path]:
    """Where a repository can begin that has the first folder of a path."""
    first = next(iter(PurePosixPath(named).parts), "")
    roots = set()
    for document in tree.documents:
        parts = PurePosixPath(document.file).parts[:-1]
        roots |= {Path(*parts[:index]) for index, part in enumerate(parts) if part == first}
    return roots


def _no_file(tree: Tree) -> Iterator[Found]:
    for document in filter(is_kustomization, tree.documents):
        folder = Path(document.file).parent
        for path, named in _named(document):
            if _is_local(named) and not (folder / named).exists():
                yield Found(document, path, f"there is no {named}")


def _named(document: Document) -> Iterator[tuple[Path_, str]]:
    """The files and folders that a kustomization names, and where."""
    for key in _LISTS:
        for index, entry in enumerate(listed(document.value, key)):
            if isinstance(entry, str):
                yield (key, index), entry
    for key in ("patches", "replacements"):
        for index, entry in enumerate(listed(document.value, key)):
            if isinstance(named := at(entry, "path"), str):
                yield (key, index, "path"), named
    for key in _GENERATORS:
        for index, entry in enumerate(listed(document.value, key)):
            for number, named in enumerate(listed(entry, "files")):
                if isinstance(named, str):
                    yield (key, index, "files", number), named.rpartition("=")[2]


def _is_local(named: str) -> bool:
    """Whether kustomize takes it for a path: not for an address, nor for an object in the text."""
    if "\n" in named or "//" in named or any(mark in named for mark in "?@:"):
        return False
    first, slash, _ = named.partition("/")
    return not slash or first in (".", "..") or "." not in first  # else a host


rules = (
    Rule(
        "repository-not-allowed",
        "Argo CD refuses the Application: its project knows the repositories that it may read.",
        "write the same address into sourceRepos of the AppProject",
        _other_repository,
    ),
    Rule(
        "namespace-not-allowed",
        "Argo CD refuses what belongs there: its project knows the namespaces that it may use.",
        "add the namespace to destinations of the AppProject",
        _other_namespace,
    ),
    Rule(
        "folder-not-there",
        "Argo CD and Flux find nothing there, and nothing is deployed.",
        "name a folder of this repository",
        _no_folder,
    ),
    Rule(
        "file-not-there",
        "kustomize builds nothing at all.",
        "add the file, or take its name out",
        _no_file,
    ),
)
