"""Rules on kustomize, Argo CD, Flux and Helm."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from edgeline.formats import plain_yaml
from edgeline.lint.documents import Document, Tree, at, is_kustomization, listed, mapped
from edgeline.lint.rule import WARNING, Found, Rule
from edgeline.lint.schedules import CONFIG_MAP

SUBSTITUTE = "kustomize.toolkit.fluxcd.io/substitute"
HEALTHLESS = {
    "PipelineVersion": "pipelines.kubeflow.org",
    "TrainJob": "trainer.kubeflow.org",
    "TFJob": "kubeflow.org",
    "Experiment": "kubeflow.org",
}
EXAMPLE = re.compile(r"(https?://|ssh://(\w+@)?|\w+@)([\w.-]+\.)?example\.(com|org|net)\b")
LAPTOP = re.compile(r"manifests/overlays/laptop(\?|/?$)")
KFP_PLACEHOLDERS = ("{{$}}", "{{$.inputs", "{{$.outputs")


def _unreadable(tree: Tree) -> Iterator[Found]:
    for entry in tree.unreadable:
        yield Found(_text_document(entry.file, entry.line), (), f"it is not YAML ({entry.reason})")


def _given_twice(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        for line, key in _keys_again(document.node):
            where = _text_document(document.file, line)
            yield Found(where, (), f"the key {key[:60]!r} is there twice")


def _keys_again(node: plain_yaml.Node) -> Iterator[tuple[int, str]]:
    """Lines and keys of mappings that have a key again."""
    if isinstance(node, plain_yaml.SequenceNode):
        for entry in node.value:
            yield from _keys_again(entry)
    if not isinstance(node, plain_yaml.MappingNode):
        return
    for key in plain_yaml.repeated_keys(node):
        yield key.start_mark.line + 1, key.value
    for _, value in node.value:
        yield from _keys_again(value)


def _prefixes(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        if not is_kustomization(document):
            continue
        field = next((name for name in ("namePrefix", "nameSuffix") if document.get(name)), "")
        if not field or not _holds_pipeline(tree, document):
            continue
        if not _references_pipeline(tree, document):
            yield Found(document, (field,), f"{field} leaves spec.pipelineName as it was")


def _holds_pipeline(tree: Tree, kustomization: Document) -> bool:
    below = _resources(tree, kustomization, set())
    return any(entry.kind == "PipelineVersion" for entry in below)


def _resources(tree: Tree, kustomization: Document, seen: set[str]) -> Iterator[Document]:
    """The documents that a kustomization takes in, through other kustomizations too."""
    if kustomization.file in seen:
        return
    seen.add(kustomization.file)
    folder = Path(kustomization.file).parent
    entries = [
        entry
        for field in ("resources", "bases", "components")
        for entry in listed(kustomization.value, field)
        if isinstance(entry, str)
    ]
    places = {str((folder / entry).resolve()) for entry in entries}
    for document in tree.documents:
        file = Path(document.file).resolve()
        if str(file) in places:
            yield document
        elif str(file.parent) in places and is_kustomization(document):
            yield from _resources(tree, document, seen)


def _references_pipeline(tree: Tree, kustomization: Document) -> bool:
    """Whether a configuration of it, or of a component of it, knows spec.pipelineName."""
    folder = Path(kustomization.file).parent
    files = {
        (folder / str(name)).resolve() for name in listed(kustomization.value, "configurations")
    }
    parts = {(folder / str(name)).resolve() for name in listed(kustomization.value, "components")}
    for document in tree.documents:
        file = Path(document.file).resolve()
        if file in files:
            references = listed(document.value, "nameReference")
            found = any(at(entry, "kind") == "Pipeline" for entry in references)
        else:
            part = file.parent in parts and document.kind == "Component"
            found = part and _references_pipeline(tree, document)
        if found:
            return True
    return False


def _substitution(tree: Tree) -> Iterator[Found]:
    for document in tree.of("PipelineVersion"):
        if document.annotations.get(SUBSTITUTE) == "disabled":
            continue
        for path, value in document.values:
            if isinstance(value, str) and "${" in value:
                yield Found(document, path, "Flux takes ${...} in it for its own variable")
                break


def _helm(tree: Tree) -> Iterator[Found]:
    for file, text in tree.templates.items():
        for number, line in enumerate(text.splitlines(), 1):
            found = next((mark for mark in KFP_PLACEHOLDERS if mark in line), None)
            if found:
                what = f"Helm takes KFP's {found} for a template of its own"
                yield Found(_text_document(file, number), (), what)
                break


def _health(tree: Tree) -> Iterator[Found]:
    known = {
        key
        for document in tree.of("ConfigMap")
        if document.name == "argocd-cm"
        for key in mapped(document.value, "data")
    }
    for application in tree.of("Application"):
        if application.group != "argoproj.io":
            continue
        path = str(application.get("spec", "source", "path") or "").strip("/")
        kinds = {entry.kind for entry in tree.documents if path and is_below(entry.file, path)}
        for kind in sorted(kinds & HEALTHLESS.keys()):
            if f"resource.customizations.health.{HEALTHLESS[kind]}_{kind}" not in known:
                what = f"Argo CD takes every {kind} for healthy"
                yield Found(application, ("spec", "source", "path"), what)


def _old_commits(tree: Tree) -> Iterator[Found]:
    for application in tree.of("Application"):
        if application.group == "argoproj.io":
            retry = mapped(application.value, "spec", "syncPolicy", "retry")
            if retry and retry.get("refresh") is not True:
                path = ("spec", "syncPolicy", "retry")
                yield Found(application, path, f"{application.name} tries a wrong commit again")


def _example_addresses(tree: Tree) -> Iterator[Found]:
    for document in tree.of("Application", "AppProject", "GitRepository"):
        for path, value in document.values:
            if isinstance(value, str) and EXAMPLE.match(value):
                yield Found(document, path, f"{value} is nobody's repository")


def _replaced_nothing(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        if not is_kustomization(document):
            continue
        bases = [str(entry) for entry in listed(document.value, "resources")]
        for index, entry in enumerate(listed(document.value, "configMapGenerator")):
            replaces = at(entry, "name") == CONFIG_MAP and at(entry, "behavior") == "replace"
            if replaces and any(LAPTOP.search(base) for base in bases):
                path = ("configMapGenerator", index)
                yield Found(document, path, f"the overlay laptop has no ConfigMap {CONFIG_MAP}")


def is_below(file: str, path: str) -> bool:
    """Whether a file lies in a folder that a repository calls by that path."""
    folder = PurePosixPath(path).parts
    parts = PurePosixPath(file).parent.parts
    return any(
        parts[start : start + len(folder)] == folder
        for start in range(len(parts) - len(folder) + 1)
    )


def _text_document(file: str, line: int) -> Document:
    value: Mapping[str, object] = {}
    return Document(file, 0, value, plain_yaml.line_node(file, line))


rules = (
    Rule(
        "no-yaml",
        "Nothing that is in it can be checked or applied.",
        "fix the file or move it elsewhere",
        _unreadable,
    ),
    Rule(
        "duplicate-key",
        "Readers differ: some take the last value, kustomize and Argo CD refuse the file.",
        "leave one of them",
        _given_twice,
    ),
    Rule(
        "prefix-without-reference",
        "kustomize renames the Pipeline, but not the field by which its versions name it.",
        "add a configuration with a nameReference for kind Pipeline to spec/pipelineName",
        _prefixes,
    ),
    Rule(
        "flux-substitution",
        "Flux from 2.9 fails on a script's ${VAR}, or replaces it with nothing.",
        f"annotate it {SUBSTITUTE}: disabled",
        _substitution,
    ),
    Rule(
        "helm-collision",
        "Helm evaluates KFP's placeholders and fails, or drops them.",
        "keep compiled pipelines out of charts, or read them with .Files.Get",
        _helm,
    ),
    Rule(
        "health-unknown",
        "Without a health check Argo CD goes on before it works, and never shows that it failed.",
        "add the Lua check to argocd-cm (manifests/gitops/argocd)",
        _health,
        WARNING,
    ),
    Rule(
        "argo-tries-old-commits",
        "Argo CD's retries keep the revision that they began with: the fix of a wrong commit waits "
        "until they are used up.",
        "add refresh: true to syncPolicy.retry",
        _old_commits,
        WARNING,
    ),
    Rule(
        "example-address",
        "Argo CD and Flux say that the repository cannot be read, and nothing is deployed.",
        "put in your repository's address (manifests/gitops/README.md says where)",
        _example_addresses,
        WARNING,
    ),
    Rule(
        "replaces-nothing",
        "kustomize builds nothing of it: it cannot merge or replace what is not there.",
        "leave the generator out, or take an overlay with pipelines",
        _replaced_nothing,
    ),
)
