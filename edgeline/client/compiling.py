"""`edgeline compile`: a pipeline as KFP's IR, or as Kubernetes manifests."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from edgeline.errors import UsageError, at_path
from edgeline.formats import plain_yaml
from edgeline.kubeflow import versions

if TYPE_CHECKING:
    from edgeline.environments.environment import Environment

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,126}[a-z0-9])?")
# Who deletes a Pipeline deletes all its versions, which the server makes it the owner of; old runs
# and schedules need theirs. So neither a file that leaves Git nor the end of an Application deletes
# one, and what stays in the cluster alone is no difference.
_KEPT = {
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
ANNOTATIONS = {
    "Pipeline": {"argocd.argoproj.io/sync-wave": "0", **_KEPT},
    "PipelineVersion": {
        # the server refuses a version whose Pipeline is not there yet
        "argocd.argoproj.io/sync-wave": "1",
        **_KEPT,
        # a large one does not fit kubectl's annotation
        "argocd.argoproj.io/sync-options": "Prune=false,Delete=false,ServerSideApply=true",
        # its scripts hold ${...}, which Flux would take for its own variables
        "kustomize.toolkit.fluxcd.io/substitute": "disabled",
    },
}
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def compile_pipeline(
    pipeline: str,
    output: str | None = None,
    kubernetes: bool = False,
    namespace: str | None = None,
    settings: tuple[str, ...] = (),
    environment: str = "",
    given: Mapping[str, Any] | None = None,
) -> Path:
    """Compile a pipeline and write it, beside its place and then renamed.

    Args:
        pipeline: as `edgeline.pipelines.catalogue.load` takes it.
        output: the file to write; by default `<name>.yaml` in this folder. With `kubernetes`
            a folder (which ends with a slash or is there): the Pipeline goes to
            `pipelines/<name>.yaml` in it, the version to `versions/<version>.yaml`.
        kubernetes: write a `Pipeline` and a `PipelineVersion` named after the content's
            digest, so that an equal pipeline is an equal manifest and a changed one is a
            new version (a PipelineVersion cannot be changed).
        namespace: of the manifests; by default the environment's, or kubeflow.
        settings: `name=value` for the pipeline's defaults.
        environment: where it is to run, as `edgeline.environments.environment.load` takes it;
            empty: nothing is said about it.
        given: the parameters of the run that it is compiled for, where that is known. They are
            not compiled in: a destination among them is looked at instead of the default.

    Raises:
        UsageError: there is no such pipeline, its name is none that KFP takes or the namespace
            none that Kubernetes takes, it would publish to a pod's own disk, or the file is the
            pipeline's own.
        EdgelineError: the file cannot be written.
    """
    from edgeline.environments.environment import load
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameters import parameters_of, parse

    definition = catalogue.load(pipeline)
    place = load(environment) if environment else None
    if namespace is None:
        namespace = place.namespace if place else "kubeflow"
    name = definition.pipeline_spec.pipeline_info.name
    if not NAME.fullmatch(name):
        raise UsageError(
            f"Pipeline name {name!r} is refused by the server: use at most 128 of a-z, 0-9 and -."
        )
    if not NAMESPACE.fullmatch(namespace):
        raise UsageError(
            f"Namespace {namespace!r} is refused by Kubernetes: use at most 63 of a-z, 0-9 and -."
        )
    defaults = parse(settings, parameters_of(definition))
    path = Path(output or f"{name}.yaml")
    if not output and path.is_file() and Path(pipeline).is_file() and path.samefile(pipeline):
        raise UsageError(f"{path} would be compiled over itself: name another file with -o.")
    folder = path if kubernetes and (str(output).endswith("/") or path.is_dir()) else None
    if folder:
        path = folder / f"{name}.yaml"
    partial = path.with_name(path.name + ".partial.yaml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _compile(definition, partial, defaults)
        if place:
            _place(partial, place, defaults)
            _refuse_lost(partial, place, given or {})
        if kubernetes:
            _write_manifests(partial, name, namespace)
        if folder:
            return _write_apart(partial, folder)
        partial.replace(path)
    except OSError as error:
        raise at_path(
            error, f"{path} cannot be written ({error.strerror}): name another file with -o."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def unpinned(path: Path) -> list[str]:
    """The images of what `compile_pipeline` wrote that have no digest, sorted."""
    found = set()
    for document in yaml.safe_load_all(path.read_text("utf-8")):
        pipeline = document.get("spec", {}).get("pipelineSpec", document)
        for executor in pipeline.get("deploymentSpec", {}).get("executors", {}).values():
            image = executor.get("container", {}).get("image", "")
            found |= {image} if image and "@sha256:" not in image else set()
    return sorted(found)


def version_name(text: str, name: str) -> str:
    """The name of a compiled pipeline's PipelineVersion: the pipeline's and its content's digest.

    Args:
        text: what `compile_pipeline` writes without `kubernetes`.
        name: the pipeline's.
    """
    return f"{name[:100].rstrip('-')}-{versions.digest(list(yaml.safe_load_all(text)))}"


def _compile(definition: Any, path: Path, defaults: dict[str, Any], **options: Any) -> None:
    from kfp.compiler import Compiler

    Compiler().compile(definition, str(path), pipeline_parameters=defaults or None, **options)
    text = path.read_text("utf-8")
    comment = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(True)))
    path.write_text(comment + plain_yaml.dump(yaml.safe_load_all(text)), "utf-8")


def _place(path: Path, place: Environment, defaults: dict[str, Any]) -> None:
    from edgeline.environments.apply import BEAM_OPTIONS, apply

    if BEAM_OPTIONS in defaults:  # said on the command line, which is nearer
        place = msgspec.structs.replace(place, beam_options=())
    pipeline, *platforms = yaml.safe_load_all(path.read_text("utf-8"))
    documents = apply(pipeline, platforms[0] if platforms else {}, place)
    path.write_text(plain_yaml.dump(documents), "utf-8")


def _refuse_lost(path: Path, place: Environment, given: Mapping[str, Any]) -> None:
    """Refuse a destination that no pod of a cluster keeps.

    Raises:
        UsageError: it names the parameter.
    """
    from edgeline.lint.destinations import published
    from edgeline.stores.destinations import MEND, is_relative, lost

    if not place.is_cluster:
        return
    pipeline, *platforms = yaml.safe_load_all(path.read_text("utf-8"))
    for entry in published(pipeline, platforms[0] if platforms else {}):
        destination = given.get(entry.parameter, entry.destination)
        if isinstance(destination, str) and is_relative(destination):
            way = f"give --set {entry.parameter}=s3://bucket/prefix" if entry.parameter else MEND
            raise UsageError(f"{lost(destination)}: {way}.")


def _write_manifests(path: Path, name: str, namespace: str) -> None:
    from kfp.compiler.compiler_utils import KubernetesManifestOptions
    from kfp.components import load_component_from_text

    text = path.read_text("utf-8")
    version = version_name(text, name)
    options = KubernetesManifestOptions(
        pipeline_name=name,
        pipeline_display_name=name,
        pipeline_version_name=version,
        pipeline_version_display_name=version,
        namespace=namespace,
        include_pipeline_manifest=True,
    )
    _compile(
        load_component_from_text(text),
        path,
        {},
        kubernetes_manifest_format=True,
        kubernetes_manifest_options=options,
    )
    documents = list(yaml.safe_load_all(path.read_text("utf-8")))
    for document in documents:
        document["metadata"]["annotations"] = ANNOTATIONS[document["kind"]]
    path.write_text(plain_yaml.dump(documents), "utf-8")


def _write_apart(path: Path, folder: Path) -> Path:
    """A file an object: versions beside the older ones, which runs and schedules still need."""
    places = {"Pipeline": folder / "pipelines", "PipelineVersion": folder / "versions"}
    written = folder
    for document in list(yaml.safe_load_all(path.read_text("utf-8"))):
        place = places[document["kind"]]
        place.mkdir(parents=True, exist_ok=True)
        path.write_text(plain_yaml.dump([document]), "utf-8")
        written = place / f"{document['metadata']['name']}.yaml"
        path.replace(written)
    return written
