"""`edgeline compile`: a pipeline as KFP's IR, or as Kubernetes manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgeline.artifacts.folder import write_output
from edgeline.client.handing import hand_together
from edgeline.client.merging import merge_single
from edgeline.client.slim import drop_descriptions, drop_interfaces, slim
from edgeline.errors import UsageError
from edgeline.formats import names, plain_yaml
from edgeline.kubeflow import task, versions
from edgeline.pipelines.description import of_pipeline, of_version
from edgeline.schedules import current as schedules

if TYPE_CHECKING:
    from edgeline.environments.environment import Environment

# Who deletes a Pipeline deletes all its versions, which the server makes it the owner of; old runs
# and schedules need theirs. So neither a file that leaves Git nor the end of an Application deletes
# one, and what stays in the cluster alone is not a difference.
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
Json = dict[str, Any]


@dataclass(frozen=True)
class CompiledPipeline:
    """A pipeline as KFP keeps it.

    Attributes:
        documents: KFP's IR and, where there is anything of a platform, what it needs of it.
        description: the author's, with what can be set; None where there is none.
        comment: what stands above the YAML, with the parameters; empty with an environment.
    """

    documents: Sequence[Json]
    description: str | None
    comment: str

    @property
    def name(self) -> str:
        """The pipeline's."""
        return str(self.documents[0]["pipelineInfo"]["name"])

    @property
    def version(self) -> str:
        """The name of its PipelineVersion: the pipeline's and its content's digest."""
        return f"{self.name[:100].rstrip('-')}-{versions.digest(self.documents)}"

    @property
    def text(self) -> str:
        """KFP's YAML."""
        return plain_yaml.dump(self.documents, comment=self.comment)


def compile_pipeline(
    pipeline: str,
    output: str | None = None,
    kubernetes: bool = False,
    namespace: str | None = None,
    settings: tuple[str, ...] = (),
    environment: str = "",
    given: Mapping[str, Any] | None = None,
    current: str | None = None,
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
        current: the file to name the version in, for schedules (`edgeline.schedules.current`),
            with `kubernetes` and a folder.

    Raises:
        UsageError: there is no such pipeline, its name is none that KFP takes or the namespace
            none that Kubernetes takes, it would publish to a pod's own disk, the file is the
            pipeline's own, or no run with these defaults can succeed (see `edgeline.preflight`).
        EdgelineError: the file cannot be written.
    """
    from edgeline import preflight
    from edgeline.environments.environment import load
    from edgeline.pipelines import catalogue
    from edgeline.pipelines.parameters import parameters_of, parse

    definition = catalogue.load(pipeline)
    place = load(environment) if environment else None
    if namespace is not None and not kubernetes:
        raise UsageError("--namespace is for --kubernetes: leave it out, or give both.")
    if current is not None and not kubernetes:
        raise UsageError("--current is for --kubernetes: leave it out, or give both.")
    if namespace is None:
        namespace = (place.namespace if place else "") or "kubeflow"
    name = definition.pipeline_spec.pipeline_info.name
    names.check_namespace(namespace)
    parameters = parameters_of(definition)
    defaults = parse(settings, parameters)
    preflight.before_compiling(parameters, {**defaults, **(given or {})})
    path = Path(output or f"{name}.yaml")
    if not output and path.is_file() and Path(pipeline).is_file() and path.samefile(pipeline):
        raise UsageError(f"{path} would be compiled over itself: name another file with -o.")
    compiled = compile_definition(definition, defaults, place, given or {})
    if not kubernetes:
        return write_output(path, compiled.text)
    pipeline_object, version_object = _manifests(compiled, namespace)
    if not (str(output).endswith("/") or path.is_dir()):
        written = write_output(path, plain_yaml.dump((pipeline_object, version_object)))
    else:
        written = _write_each(path, compiled, namespace, pipeline_object, version_object)
    if current is not None:  # last: what it names is there
        schedules.write(Path(current), name, compiled.version)
    return written


def _write_each(
    folder: Path, compiled: CompiledPipeline, namespace: str, pipeline: Json, version: Json
) -> Path:
    """A file an object: versions beside the older ones, which runs and schedules still need."""
    for kind in ("pipelines", "versions"):
        write_output(folder / kind / "folder.yaml", plain_yaml.dump([_marker(kind, namespace)]))
    write_output(folder / "pipelines" / f"{compiled.name}.yaml", plain_yaml.dump([pipeline]))
    versioned = folder / "versions" / f"{compiled.version}.yaml"
    return write_output(versioned, plain_yaml.dump([version]))


def _marker(kind: str, namespace: str) -> Json:
    """What keeps a folder in Git, and a Kustomization of Flux in order, when its last pipeline
    leaves: Flux fails on a path that is not there and then takes nothing away."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"edgeline-{kind}", "namespace": namespace},
    }


def compile_definition(
    definition: Any, defaults: Json, place: Environment | None, given: Mapping[str, Any]
) -> CompiledPipeline:
    """Compile a kfp pipeline.

    Args:
        definition: as `edgeline.pipelines.catalogue.load` gives it.
        defaults: of its parameters, other than its own, as `parameters.check` gives them.
        place: the environment that it is to run in; None: nothing is said about it.
        given: see `compile_pipeline`.

    Raises:
        UsageError: its name is none that KFP takes, its root none that KFP writes to, or it would
            publish to a pod's own disk, or it downloads to a workspace that it does not have.
    """
    from google.protobuf import json_format
    from kfp.compiler import pipeline_spec_builder as builder
    from kfp.dsl.yaml_component import YamlComponent

    from edgeline.pipelines.defaults import set_defaults
    from edgeline.pipelines.input_names import name_inputs, name_parameters

    pipeline = json_format.MessageToDict(definition.pipeline_spec)
    platform = json_format.MessageToDict(definition.platform_spec)
    fresh = not isinstance(definition, YamlComponent)  # else it keeps its content and its version
    if fresh:
        name_inputs(pipeline)
    set_defaults(pipeline, defaults)
    if fresh:
        merge_single(pipeline)
        hand_together(pipeline)
        slim(pipeline)
        name_parameters(pipeline, platform)
    pipeline = _in_order(pipeline)
    name = pipeline["pipelineInfo"].get("name", "")
    if not names.PIPELINE.fullmatch(name):
        raise UsageError(
            f"Pipeline name {name!r} is refused by the server: use at most 128 of a-z, 0-9 and -."
        )
    _check_workspace(pipeline, platform)
    about = definition.description or None
    comment = builder.extract_comments_from_pipeline_spec(pipeline, about)
    if fresh:  # and not compiled before, perhaps for older images
        task.start_here(pipeline)
        drop_interfaces(pipeline)
        drop_descriptions(pipeline)
    if place is None:
        return CompiledPipeline([pipeline, platform] if platform else [pipeline], about, comment)
    return CompiledPipeline(_placed(pipeline, platform, place, defaults, given), about, "")


def unpinned(path: Path) -> list[str]:
    """The images of what `compile_pipeline` wrote that have no digest, sorted."""
    found = set()
    if not path.is_file():  # a device or a pipe, which took it
        return []
    for document in plain_yaml.read(path.read_bytes()):
        pipeline = document.get("spec", {}).get("pipelineSpec", document)
        for executor in pipeline.get("deploymentSpec", {}).get("executors", {}).values():
            image = executor.get("container", {}).get("image", "")
            found |= {image} if image and "@sha256:" not in image else set()
    return sorted(found)


def _in_order(value: Any) -> Any:
    """A value with its keys sorted: a message's have another order in each process."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(entry) for entry in value] if isinstance(value, list) else value


def _check_workspace(pipeline: Json, platform: Json) -> None:
    """What kfp's compiler checks, too: without a workspace such a task fails in the cluster."""
    configs = platform.get("platforms", {}).values()
    if any("workspace" in config.get("pipelineConfig", {}) for config in configs):
        return
    for label, executor in pipeline.get("deploymentSpec", {}).get("executors", {}).items():
        if executor.get("importer", {}).get("downloadToWorkspace"):
            raise UsageError(
                f"{label.removeprefix('exec-')} downloads to a workspace, and the pipeline has "
                "none: give @dsl.pipeline a pipeline_config with a dsl.WorkspaceConfig."
            )


def _placed(
    pipeline: Json,
    platform: Json,
    place: Environment,
    defaults: Json,
    given: Mapping[str, Any],
) -> tuple[Json, Json]:
    from edgeline.environments.apply import BEAM_OPTIONS, WORKERS, apply

    given_fields = {name for each in defaults.values() if isinstance(each, dict) for name in each}
    nearer = defaults.keys() | given_fields  # said on the command line
    if BEAM_OPTIONS in nearer:
        place = msgspec.structs.replace(place, beam_options=())
    if WORKERS in nearer:
        place = msgspec.structs.replace(place, workers=0)
    documents = apply(pipeline, platform, place)
    if place.is_cluster:
        check_root(documents[0])
        _refuse_lost(*documents, given)
    return documents


def check_root(pipeline: Json) -> None:
    """Refuse a pipeline root that KFP's launcher cannot write to, at the end of the first task.

    Raises:
        UsageError: it names the pipeline.
    """
    root = pipeline.get("defaultPipelineRoot") or ""
    if root and not names.ROOT.fullmatch(root):
        raise UsageError(
            f"Pipeline {pipeline['pipelineInfo']['name']} has the pipeline_root {root!r}, which "
            "KFP's launcher cannot write to: give gs://, s3:// or minio:// with a bucket, or none."
        )


def _refuse_lost(pipeline: Json, platform: Json, given: Mapping[str, Any]) -> None:
    """Refuse a destination that no pod of a cluster keeps.

    Raises:
        UsageError: it names the parameter.
    """
    from edgeline.lint.destinations import published
    from edgeline.stores.destinations import WAY_OUT, check, is_relative, lost

    for entry in published(pipeline, platform):
        destination = given.get(entry.parameter, entry.destination)
        if not isinstance(destination, str):
            continue
        check(destination)
        if is_relative(destination):
            way = f"give --set {entry.parameter}=s3://bucket/prefix" if entry.parameter else WAY_OUT
            raise UsageError(f"{lost(destination)}: {way}.")


def _manifests(compiled: CompiledPipeline, namespace: str) -> tuple[Json, Json]:
    """Pipeline and PipelineVersion, as kfp's compiler makes them."""
    described = compiled.description or ""
    about = {"description": of_pipeline(described)} if described else {}
    can_be_set = {"description": of_version(described)} if described else {}
    pipeline, *platform = versions.as_kept(compiled.documents)
    version = {"displayName": compiled.version, "pipelineName": compiled.name}
    specs: dict[str, Json] = {
        "Pipeline": {"displayName": compiled.name, **about},
        "PipelineVersion": {**version, "pipelineSpec": pipeline, **can_be_set},
    }
    if any(platform):
        specs["PipelineVersion"]["platformSpec"] = platform[0]
    called = {"Pipeline": compiled.name, "PipelineVersion": compiled.version}
    first, second = (
        {
            "apiVersion": "pipelines.kubeflow.org/v2beta1",
            "kind": kind,
            "metadata": {
                "name": called[kind],
                "namespace": namespace,
                "annotations": ANNOTATIONS[kind],
            },
            "spec": spec,
        }
        for kind, spec in specs.items()
    )
    return first, second
