"""Rules on compiled pipelines and on the objects that carry them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgeline.formats import names, plain_yaml
from edgeline.kubeflow.versions import CONTENT_NAME, digest
from edgeline.lint.documents import Document, Tree, at, listed, mapped
from edgeline.lint.rule import WARNING, Found, Rule

PIPELINES = "pipelines.kubeflow.org"
PIPELINES_FOLDER = "edgeline-pipelines"  # the ConfigMap that compile keeps that folder with
# of what becomes a host's name, a label's value, or the beginning of other names
SHORT_NAMES = {
    "CronJob": re.compile(rf"(?=.{{1,52}}\Z){names.SUBDOMAIN_PATTERN}"),
    "Job": re.compile(rf"(?=.{{1,63}}\Z){names.SUBDOMAIN_PATTERN}"),
    "Namespace": names.LABEL,
    "Service": names.SERVICE,
    "StatefulSet": names.LABEL,
}
ETCD_BYTES = 3 << 19  # 1.5 MiB
CONFIG_MAP_BYTES = 1 << 20  # of its values
ANNOTATION_BYTES = 262_144
WAVE = "argocd.argoproj.io/sync-wave"
SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
COMPARE_OPTIONS = "argocd.argoproj.io/compare-options"
FLUX_PRUNE = "kustomize.toolkit.fluxcd.io/prune"
COLON_NAMES = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def _names(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        if document.kind in ("Pipeline", "PipelineVersion"):
            for path in (("metadata", "name"), ("spec", "pipelineName")):
                name = document.get(*path)
                if isinstance(name, str) and not names.PIPELINE.fullmatch(name):
                    yield Found(document, path, f"the server refuses the name {name!r}")
        elif document.kind == "IR":
            name = document.get("pipelineInfo", "name")
            if not isinstance(name, str) or not names.PIPELINE.fullmatch(name):
                path = ("pipelineInfo", "name")
                yield Found(document, path, f"the server refuses the name {name!r}")
        elif document.kind not in COLON_NAMES:
            yield from _kubernetes_name(document)


def _kubernetes_name(document: Document) -> Iterator[Found]:
    shape = SHORT_NAMES.get(document.kind, names.SUBDOMAIN)
    if document.name and not shape.fullmatch(document.name):
        what = f"Kubernetes refuses the name {document.name!r}"
        yield Found(document, ("metadata", "name"), what)


def _hashes(tree: Tree) -> Iterator[Found]:
    for document in tree.of("PipelineVersion"):
        if document.name and not CONTENT_NAME.search(document.name):
            what = f"PipelineVersion {document.name} is not named after its content"
            yield Found(document, ("metadata", "name"), what)


def _edited(tree: Tree) -> Iterator[Found]:
    for document in tree.of("PipelineVersion"):
        claimed = CONTENT_NAME.search(document.name)
        spec = mapped(document.value, "spec")
        if not claimed:
            continue  # said by the rule above
        documents = [spec.get("pipelineSpec"), *filter(None, [spec.get("platformSpec")])]
        if (found := digest(documents)) != claimed[1]:
            what = f"PipelineVersion {document.name} has other content, which is {found}"
            yield Found(document, ("metadata", "name"), what)


def _version_deleted(tree: Tree) -> Iterator[Found]:
    for document in tree.of("PipelineVersion"):
        if lacks := _unprotected(document):
            what = f"PipelineVersion {document.name} is deleted when it leaves Git ({lacks})"
            yield Found(document, ("metadata",), what)


def _pipeline_deleted(tree: Tree) -> Iterator[Found]:
    for document in tree.of("Pipeline"):
        if document.group != PIPELINES:  # Tekton has Pipelines, too
            continue
        lacks = _unprotected(document)
        if not lacks and _options(document, SYNC_OPTIONS):
            # else the Application is out of sync for as long as it is kept
            told = "IgnoreExtraneous" in _options(document, COMPARE_OPTIONS)
            lacks = "" if told else f"no {COMPARE_OPTIONS}: IgnoreExtraneous"
        if lacks:
            what = f"Pipeline {document.name} takes all its versions with it ({lacks})"
            yield Found(document, ("metadata",), what)


def _unprotected(document: Document) -> str:
    """Which protection against deletion an object lacks, for Argo CD or Flux, whichever it names.

    One that names neither lacks both.
    """
    options = _options(document, SYNC_OPTIONS)
    wanted = [option for option in ("Prune=false", "Delete=false") if option not in options]
    flux = document.annotations.get(FLUX_PRUNE) or document.labels.get(FLUX_PRUNE)
    if wanted and (flux != "disabled" or len(wanted) == 1):
        return f"no {SYNC_OPTIONS}: {','.join(wanted)}"
    return ""


def _options(document: Document, annotation: str) -> list[str]:
    return str(document.annotations.get(annotation, "")).replace(",", " ").split()


def _order(tree: Tree) -> Iterator[Found]:
    pipelines = {document.name: document for document in tree.of("Pipeline")}
    for document in tree.of("PipelineVersion"):
        owner = pipelines.get(str(document.get("spec", "pipelineName")))
        if owner is None:
            continue
        waves = [_wave(entry) for entry in (owner, document)]
        if waves[0] >= waves[1]:
            what = f"PipelineVersion {document.name} may be applied before Pipeline {owner.name}"
            yield Found(document, ("metadata",), what)


def _without_pipeline(tree: Tree) -> Iterator[Found]:
    """Of what `compile` wrote: its folder `pipelines` is kept when the last pipeline leaves."""
    kept = {
        Path(each.file).parent for each in tree.of("ConfigMap") if each.name == PIPELINES_FOLDER
    }
    there = {(Path(each.file).parent, each.name) for each in tree.of("Pipeline")}
    for document in tree.of("PipelineVersion"):
        folder = Path(document.file).parent.parent / "pipelines"
        pipeline = str(document.get("spec", "pipelineName"))
        if folder in kept and (folder, pipeline) not in there:
            what = f"PipelineVersion {document.name} is of {pipeline}, which pipelines/ lacks"
            yield Found(document, ("spec", "pipelineName"), what)


def _wave(document: Document) -> int:
    try:
        return int(document.annotations.get(WAVE, "0"))
    except (TypeError, ValueError):  # written without a value, too
        return 0


def _scheduled(tree: Tree) -> Iterator[Found]:
    for document in tree.of("ScheduledWorkflow"):
        yield Found(document, ("kind",), f"ScheduledWorkflow {document.name} starts no run")


def _size(document: Document) -> int:
    return len(json.dumps(document.value, default=str, separators=(",", ":")).encode())


def _values(document: Document) -> int:
    if document.kind != "ConfigMap":
        return 0
    return sum(len(str(value).encode()) for value in mapped(document.value, "data").values())


def _too_large(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        if document.kind and document.kind != "IR" and (size := _size(document)) > ETCD_BYTES:
            yield Found(document, (), f"{document.kind} {document.name} has {size:,} bytes")
        elif (size := _values(document)) > CONFIG_MAP_BYTES:
            yield Found(document, ("data",), f"ConfigMap {document.name} has {size:,} bytes")


def _too_large_for_apply(tree: Tree) -> Iterator[Found]:
    served = any(
        "ServerSideApply=true" in (listed(entry.value, "spec", "syncPolicy", "syncOptions"))
        for entry in tree.of("Application")
    )
    for document in tree.documents:
        options = str(document.annotations.get(SYNC_OPTIONS, ""))
        if document.kind in ("", "IR") or served or "ServerSideApply=true" in options:
            continue
        if ANNOTATION_BYTES < (size := _size(document)) <= ETCD_BYTES:
            what = f"{document.kind} {document.name} has {size:,} bytes, too many for an annotation"
            yield Found(document, (), what)


def _artifact_types(tree: Tree) -> Iterator[Found]:
    for document in tree.of("IR", "PipelineVersion"):
        for path, value in document.values:
            title = path and path[-1] == "schemaTitle" and isinstance(value, str)
            if title and not value.startswith(("system.", "google.")):
                yield Found(document, path, f"the server refuses the artifact type {value}")


def _roots(tree: Tree) -> Iterator[Found]:
    for document in tree.of("ConfigMap"):
        root = document.get("data", "defaultPipelineRoot")
        if isinstance(root, str) and not names.ROOT.fullmatch(root):
            path = ("data", "defaultPipelineRoot")
            yield Found(document, path, f"the launcher cannot write to {root}")
    for document in tree.of("IR", "PipelineVersion"):
        above, pipeline = document.pipeline or ((), {})
        root = pipeline.get("defaultPipelineRoot", "")
        if isinstance(root, str) and root and not names.ROOT.fullmatch(root):
            where = (*above, "defaultPipelineRoot")
            yield Found(document, where, f"the launcher cannot write to {root}")


def _providers(tree: Tree) -> Iterator[Found]:
    for document in tree.of("ConfigMap"):
        text = document.get("data", "providers")
        if document.name != "kfp-launcher" or not isinstance(text, str):
            continue
        path = ("data", "providers")
        try:
            providers = plain_yaml.read_one(text)
        except plain_yaml.YamlError:
            providers = None
        if not isinstance(providers, Mapping):
            yield Found(document, path, "the launcher cannot read its providers")
            continue
        for name, provider in providers.items():
            if name not in names.ROOT_SCHEMES:
                yield Found(document, path, f"the launcher knows no provider {name}")
                continue
            credentials = mapped(provider, "default", "credentials")
            if not credentials.get("fromEnv") and not at(credentials, "secretRef", "secretName"):
                yield Found(document, path, f"provider {name} has no credentials")


def _not_shown(tree: Tree) -> Iterator[Found]:
    for document in tree.of("IR", "PipelineVersion"):
        root, pipeline = document.pipeline or ((), {})
        for name, component in mapped(pipeline, "components").items():
            outputs = mapped(component, "outputDefinitions", "artifacts")
            kinds = Counter(
                str(at(entry, "artifactType", "schemaTitle")) for entry in outputs.values()
            )
            path = (*root, "components", name)
            for kind in ("system.HTML", "system.Markdown"):
                if kinds[kind] > 1 and "executorLabel" in component:
                    yield Found(document, path, f"{name} has {kinds[kind]} outputs {kind}")
            if kinds["system.SlicedClassificationMetrics"]:
                yield Found(document, path, f"{name} has SlicedClassificationMetrics")


def _rights(tree: Tree) -> Iterator[Found]:
    granted = {
        str(group)
        for role in tree.of("Role", "ClusterRole")
        for rule in listed(role.value, "rules")
        for group in listed(rule, "apiGroups")
    }
    for document in tree.of("IR", "PipelineVersion"):
        root, pipeline = document.pipeline or ((), {})
        for name, executor in mapped(pipeline, "deploymentSpec", "executors").items():
            text = json.dumps(executor, default=str)
            for group in ("trainer.kubeflow.org", "serving.kserve.io"):
                if group in text and not granted & {group, "*"}:
                    path = (*root, "deploymentSpec", "executors", name)
                    what = f"{name} uses {group}, which pipeline-runner may not"
                    yield Found(document, path, what)


def _twins(tree: Tree) -> Iterator[Found]:
    seen: Counter[tuple[str, str, str, str, str]] = Counter()
    for document in tree.documents:
        if not document.kind or document.kind == "IR" or not document.name or document.patch:
            continue
        namespace = str(document.get("metadata", "namespace") or "")
        key = (document.file, document.group, document.kind, namespace, document.name)
        seen[key] += 1
        if seen[key] == 2:
            what = f"{document.kind} {document.name} is in this file twice"
            yield Found(document, ("metadata", "name"), what)


rules = (
    Rule(
        "name-rejected",
        "kfp compiles any name; the server and Kubernetes do not take any.",
        "use a-z, 0-9 and -, a letter first, a letter or digit last; at most 52 for a CronJob, 63 "
        "for a Service, Job, Namespace or StatefulSet, 128 for a pipeline, 253 for others",
        _names,
    ),
    Rule(
        "version-not-hashed",
        "A PipelineVersion cannot be changed: with the same name a changed pipeline is refused. "
        "And only a name that can be computed again shows what somebody has written by hand.",
        "compile with `edgeline compile --kubernetes`, which names it by content",
        _hashes,
        is_gate=True,
    ),
    Rule(
        "version-edited",
        "A PipelineVersion cannot be changed: the server refuses the file, and keeps what it has.",
        "change the pipeline and compile it again; a compiled file is never edited",
        _edited,
        is_gate=True,
    ),
    Rule(
        "version-pruned",
        "Old runs and schedules lose their pipeline.",
        f"annotate it {SYNC_OPTIONS}: Prune=false,Delete=false (Flux: {FLUX_PRUNE}: disabled)",
        _version_deleted,
    ),
    Rule(
        "pipeline-pruned",
        "The server makes a Pipeline the owner of its versions: where it is deleted, because its "
        "file left Git or the Application was deleted, all of them are.",
        f"annotate it {SYNC_OPTIONS}: Prune=false,Delete=false and {COMPARE_OPTIONS}: "
        f"IgnoreExtraneous (Flux: {FLUX_PRUNE}: disabled); `edgeline compile --kubernetes` does",
        _pipeline_deleted,
    ),
    Rule(
        "version-before-pipeline",
        "The webhook refuses a PipelineVersion whose Pipeline is not there yet.",
        "give the version a later argocd.argoproj.io/sync-wave than the Pipeline",
        _order,
    ),
    Rule(
        "version-without-pipeline",
        "A cluster that has the Pipeline keeps it; a new one, or a second, refuses the version.",
        "compile the pipeline again, or take its versions out as well "
        "(manifests/gitops/README.md says how a pipeline is deleted)",
        _without_pipeline,
    ),
    Rule(
        "schedule-in-git",
        "Its CRD requires a status, and its runs need a row in KFP's database.",
        "declare it in a schedules file and run `edgeline schedules apply`",
        _scheduled,
    ),
    Rule(
        "too-large-for-etcd",
        "etcd takes 1.5 MiB an object, and Kubernetes 1 MiB in a ConfigMap.",
        "split the pipeline, or upload it through the API",
        _too_large,
    ),
    Rule(
        "too-large-for-apply",
        "Client-side apply keeps a copy in an annotation, of 262,144 bytes at most.",
        "sync with ServerSideApply=true (kubectl apply --server-side)",
        _too_large_for_apply,
        WARNING,
    ),
    Rule(
        "artifact-type-rejected",
        "The server knows only the namespaces system and google.",
        "use a system type and put the schema into its metadata",
        _artifact_types,
    ),
    Rule(
        "pipeline-root-scheme",
        "The launcher knows gs, s3 and minio only.",
        "use gs://BUCKET, s3://BUCKET or minio://BUCKET",
        _roots,
    ),
    Rule(
        "launcher-providers",
        "The launcher cannot reach the store, and each task fails when it begins.",
        "name gs, s3 or minio, each with credentials.fromEnv: true or a secretRef",
        _providers,
    ),
    Rule(
        "not-shown",
        "Kubeflow's page shows the first HTML and the first Markdown of a task, and no slices.",
        "put it into one report",
        _not_shown,
        WARNING,
    ),
    Rule(
        "runner-without-rights",
        "KFP's default role of pipeline-runner has neither trainer.kubeflow.org nor "
        "serving.kserve.io.",
        "add a Role for it (manifests/base/pipelines)",
        _rights,
    ),
    Rule(
        "duplicate-object",
        "The second replaces the first without a word.",
        "rename one or remove it",
        _twins,
    ),
)
