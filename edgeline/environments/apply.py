"""An environment put into a compiled pipeline.

The pipeline itself says nothing about where it runs. What the environment says goes into its
compiled form: resources and images into the executors, everything of Kubernetes' own into the
platform document beside it, in kfp-kubernetes' form.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import msgspec

from edgeline import images
from edgeline.environments.environment import (
    Environment,
    Resources,
    Toleration,
    Workspace,
)
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.pipelines.defaults import set_defaults
from edgeline.pipelines.flat import fields_called
from edgeline.pipelines.parameters import check, from_spec

Json = dict[str, Any]
FACTORS = {"": 1.0, "m": 1e-3} | {
    unit + suffix: base**power
    for suffix, base in (("", 1000.0), ("i", 1024.0))
    for power, unit in enumerate(("K" if suffix else "k", "M", "G", "T"), 1)
}
BEAM_OPTIONS, WORKERS = "beam_options", "workers"
IN_SMALL_IMAGES = ("validate",)  # that take BEAM_OPTIONS, and whose own image does not have Beam
GPUS = ("nvidia.com/", "amd.com/")
FIRST = ("settings", "plan")  # what looks at a destination before anything else
# components that do another's work, and have what an environment gives that one, or their own
LIKE = {
    "train_candidate": "train",
    "tune": "train",
    "explain": "verify",
    "publish_candidates": "publish",
}
IDENTITY_ONLY = {"EDGELINE_IDENTITY_ONLY": "true"}  # see `edgeline.stores.destinations`
_KEYS = ("AWS_", "MINIO_", "AZURE_", "GOOGLE_")  # how variables of keys begin


def apply(pipeline: Json, platform: Json, environment: Environment) -> tuple[Json, Json]:
    """A compiled pipeline and its platform document as an environment wants them.

    Args:
        pipeline: KFP's IR.
        platform: the platform document, empty where there was none.

    Returns:
        Both anew; what the pipeline's author set on a task stays where the environment is
        silent.

    Raises:
        EdgelineError: `tasks` names a component that neither edgeline nor the pipeline has,
            a request is larger than its limit, two mounts have one path, or a GPU is asked for by
            an image that cannot use one.
    """
    pipeline, platform = copy.deepcopy(pipeline), copy.deepcopy(platform)
    executors: Json = pipeline["deploymentSpec"]["executors"]
    names = _component_names(pipeline)
    _check(environment, set(names.values()))
    for label, executor in executors.items():
        container = executor.get("container")
        if container is None:
            continue
        resources = resources_of(environment, names.get(label, ""))
        _set_resources(container, resources)
        if environment.beam_options and names.get(label) in IN_SMALL_IMAGES and not resources.image:
            resources = msgspec.structs.replace(resources, image="train")
        container["image"] = image_of(container["image"], environment, resources)
        refuse_unused_gpu(environment, names.get(label, label), container["image"], resources)
        _set_variables(container, {**store_variables(environment), **environment.variables})
        config = _executor_config(platform, label)
        _set_kubernetes(config, environment, resources)
    if environment.is_cluster and not _has_keys(pipeline, platform):
        for label, executor in executors.items():
            if names.get(label) in FIRST and "container" in executor:
                _set_variables(executor["container"], IDENTITY_ONLY)
    if environment.workspace:
        _set_workspace(platform, environment.workspace)
    if environment.object_store.root:
        pipeline["defaultPipelineRoot"] = environment.object_store.root
    if environment.caching is not None:
        set_caching(pipeline, environment.caching)
    if environment.workers:
        _set_default(pipeline, WORKERS, environment.workers, environment.name)
    if environment.beam_options:
        _set_default(pipeline, BEAM_OPTIONS, list(environment.beam_options), environment.name)
    return pipeline, platform


def image(reference: str, registry: str) -> str:
    """An image's reference in a mirror: its last name, tag and digest stay."""
    return f"{registry.rstrip('/')}/{reference.rpartition('/')[2]}" if registry else reference


def image_of(built: str, environment: Environment, resources: Resources) -> str:
    """The image of a task: what the environment says, by its name in the lock or as a whole."""
    found = resources.image or built
    if resources.image and not re.search(r"[/:@]", resources.image):
        found = images.reference(resources.image)
    return image(found, environment.registry)


def refuse_unused_gpu(
    environment: Environment, name: str, reference: str, resources: Resources
) -> None:
    """A task that waits for a GPU which its image cannot use waits for nothing, up to a day."""
    asked = resources.accelerator
    if asked and asked.type.startswith(GPUS) and images.is_for_cpus(reference):
        raise EdgelineError(
            f"Environment {environment.name} asks for {asked.count} {asked.type} for {name}, whose "
            f"image {reference} has no CUDA: give tasks.{name}.image an image that has, "
            "such as one of the target train-gpu, or leave the accelerator out."
        )


def set_caching(pipeline: Json, caching: bool) -> None:
    """Say of every task that may be taken from an earlier run whether it is; others stay."""
    for dag in _dags(pipeline):
        for task in dag.get("tasks", {}).values():
            if "cachingOptions" in task and task["cachingOptions"].get("enableCache"):
                task["cachingOptions"] = {"enableCache": True} if caching else {}


def _check(environment: Environment, used: set[str]) -> None:
    from edgeline.components import catalogue

    known = used | set(catalogue.names())
    for name, resources in {"defaults": environment.defaults, **environment.tasks}.items():
        if name != "defaults" and name not in known:
            raise EdgelineError(
                f"Environment {environment.name} has a task {name!r}, which is not a component. "
                + did_you_mean(name, sorted(known), "The components are")
            )
        for kind in ("cpu", "memory"):
            request, limit = (getattr(resources, f"{kind}_{end}") for end in ("request", "limit"))
            if request and limit and amount(request) > amount(limit):
                raise EdgelineError(
                    f"Environment {environment.name} requests {kind} {request} for {name}, more "
                    f"than its limit {limit}."
                )


def amount(quantity: str) -> float:
    """A Kubernetes quantity as a number: cores or bytes."""
    digits = quantity.rstrip("mkMGTKi")
    return float(digits) * FACTORS[quantity[len(digits) :]]


def _component_names(pipeline: Json) -> dict[str, str]:
    """Executor labels and the components they came from; KFP numbers the copies of one."""
    names = {}
    for key, component in pipeline.get("components", {}).items():
        if label := component.get("executorLabel"):
            head, _, last = key.removeprefix("comp-").rpartition("-")
            names[label] = (head if last.isdecimal() else key.removeprefix("comp-")).replace(
                "-", "_"
            )
    return names


def resources_of(environment: Environment, name: str) -> Resources:
    """The defaults with what differs for a component; selectors are joined, not replaced."""
    tasks = environment.tasks
    base, own = environment.defaults, tasks.get(name) or tasks.get(LIKE.get(name, ""), Resources())
    given = {
        field: value
        for field in Resources.__struct_fields__
        if (value := getattr(own, field)) not in ("", None, {}, (), 0)
    }
    merged = msgspec.structs.replace(base, **given)
    return msgspec.structs.replace(
        merged,
        node_selector={**base.node_selector, **own.node_selector},
        tolerations=(*base.tolerations, *own.tolerations),
        labels={**base.labels, **own.labels},
        annotations={**base.annotations, **own.annotations},
        secrets=(*base.secrets, *own.secrets),
        secret_files=tuple({e.path: e for e in (*base.secret_files, *own.secret_files)}.values()),
        volumes=tuple({e.path: e for e in (*base.volumes, *own.volumes)}.values()),
    )


def _set_resources(container: Json, resources: Resources) -> None:
    """The numbers and, beside them, the texts that newer servers read: KFP writes both."""
    found = container.setdefault("resources", {})
    for kind, unit in (("cpu", 1.0), ("memory", 1e9)):
        for end in ("request", "limit"):
            if quantity := getattr(resources, f"{kind}_{end}"):
                found[f"{kind}{end.title()}"] = amount(quantity) / unit
                found[f"resource{kind.title()}{end.title()}"] = quantity
    if accelerator := resources.accelerator:
        found["accelerator"] = {
            "type": accelerator.type,
            "resourceType": accelerator.type,
            "count": str(accelerator.count),
            "resourceCount": str(accelerator.count),
        }
    if not found:
        del container["resources"]


def store_variables(environment: Environment) -> dict[str, str]:
    """What `edgeline.stores.storage` reads, so that tasks reach the store that the launcher
    uses."""
    store = environment.object_store
    found = {"AWS_REGION": store.region} if store.region else {}
    by_minio = store.secret is not None and "MINIO_ACCESS_KEY" in store.secret.env
    if store.endpoint and (store.root.startswith("minio://") or by_minio):
        found |= {"MINIO_ENDPOINT": store.endpoint, "MINIO_SECURE": str(store.tls).lower()}
    elif store.endpoint:
        found["AWS_ENDPOINT_URL"] = f"http{'s' * store.tls}://{store.endpoint}"
    return found


def _has_keys(pipeline: Json, platform: Json) -> bool:
    """Whether any task has a key of a store, from the environment or from its author."""
    names = [
        entry["name"]
        for executor in pipeline["deploymentSpec"]["executors"].values()
        for entry in executor.get("container", {}).get("env", ())
    ]
    configs = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    for config in configs:
        names += [
            pair["envVar"] for each in config.get("secretAsEnv", ()) for pair in each["keyToEnv"]
        ]
        if "configMapAsEnv" in config:  # of names that are not known here
            return True
    return any(map(_is_key, names))


def _is_key(variable: str) -> bool:
    is_part = any(mark in variable for mark in ("KEY", "SECRET", "TOKEN", "CREDENTIALS"))
    return variable.startswith(_KEYS) and is_part


def _set_variables(container: Json, variables: dict[str, str]) -> None:
    if variables:
        env = {entry["name"]: entry["value"] for entry in container.get("env", ())} | variables
        container["env"] = [{"name": name, "value": value} for name, value in env.items()]


def _executor_config(platform: Json, label: str) -> Json:
    kubernetes = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
    executors = kubernetes.setdefault("deploymentSpec", {}).setdefault("executors", {})
    config: Json = executors.setdefault(label, {})
    return config


def _set_kubernetes(config: Json, environment: Environment, resources: Resources) -> None:
    """What kfp.kubernetes' functions would write, whose import takes longer than all the rest.

    But for the names of secrets and claims: they write each as a parameter, too, which servers read
    where there is one. Each task's config stands three times in a run's workflow.
    """
    if resources.node_selector:
        config.setdefault("nodeSelector", {}).setdefault("labels", {}).update(
            resources.node_selector
        )
    for toleration in resources.tolerations:
        config.setdefault("tolerations", []).append(_toleration(toleration))
    store = environment.object_store.secret
    for secret in (*((store,) if store else ()), *environment.secrets, *resources.secrets):
        keys = [{"secretKey": key, "envVar": variable} for variable, key in secret.env.items()]
        if keys:
            entry = {"keyToEnv": keys, "optional": secret.optional, "secretName": secret.name}
            config.setdefault("secretAsEnv", []).append(entry)
    for name in environment.image_pull_secrets:
        config.setdefault("imagePullSecret", []).append({"secretName": name})
    _set_mounts(config, environment, resources)
    for name, given in (("labels", resources.labels), ("annotations", resources.annotations)):
        if given:
            config.setdefault("podMetadata", {}).setdefault(name, {}).update(given)
    for each in resources.node_affinity:
        term: Json = {"key": each.key, "operator": each.operator}
        term |= {"values": list(each.values)} if each.values else {}
        weight = {"weight": each.weight} if each.weight else {}
        config.setdefault("nodeAffinity", []).append({"matchExpressions": [term], **weight})
    for beside in resources.pod_affinity:
        found: Json = {"matchPodLabels": dict(beside.labels), "topologyKey": beside.topology}
        found |= {"weight": beside.weight} if beside.weight else {}
        found |= {"anti": True} if beside.apart else {}
        config.setdefault("podAffinity", []).append(found)
    if environment.run_as_user is not None:
        user = {"runAsUser": str(environment.run_as_user), "runAsNonRoot": True}
        config.setdefault("securityContext", {}).update(user)
    if resources.timeout:
        config["activeDeadlineSeconds"] = str(resources.timeout)


def check_mounts(environment: Environment, resources: Resources) -> None:
    """Refuse what Kubernetes would refuse.

    Raises:
        EdgelineError: a volume and a secret have one path.
    """
    paths = [volume.path for volume in resources.volumes]
    paths += [files.path for files in resources.secret_files]
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        raise EdgelineError(
            f"Environment {environment.name} mounts a volume and a secret at {twice[0]}: give one "
            "of them another path."
        )


def volume_name(path: str) -> str:
    """What a volume is called in its pod."""
    return ("edgeline" + path.lower().translate(str.maketrans("/._", "---"))[:50]).rstrip("-")


def _set_mounts(config: Json, environment: Environment, resources: Resources) -> None:
    """Volumes and secrets as files; an author's own mount at a path takes the place of these."""
    lists = ("pvcMount", "genericEphemeralVolume", "emptyDirMounts", "secretAsVolume")
    taken = {entry.get("mountPath") for name in lists for entry in config.get(name, ())}
    taken |= {entry.get("mountPath") for entry in config.get("configMapAsVolume", ())}
    check_mounts(environment, resources)
    for volume in resources.volumes:
        if volume.path in taken:
            continue
        name = volume_name(volume.path)
        entry: Json
        if volume.claim:
            entry = {"mountPath": volume.path, "constant": volume.claim}
            entry |= {"subPath": volume.sub_path} if volume.sub_path else {}
            config.setdefault("pvcMount", []).append(entry)
        elif volume.size:
            entry = {"volumeName": name, "mountPath": volume.path, "size": volume.size}
            entry["accessModes"] = ["ReadWriteOnce"]
            if volume.storage_class:
                entry["storageClassName"] = volume.storage_class
            else:
                entry["defaultStorageClass"] = True
            config.setdefault("genericEphemeralVolume", []).append(entry)
        else:
            entry = {"volumeName": name, "mountPath": volume.path}
            entry |= {"medium": "Memory", "sizeLimit": volume.memory}
            config.setdefault("emptyDirMounts", []).append(entry)
    for files in resources.secret_files:
        if files.path not in taken:
            found = {"mountPath": files.path, "optional": files.optional, "secretName": files.name}
            config.setdefault("secretAsVolume", []).append(found)


def _set_workspace(platform: Json, workspace: Workspace) -> None:
    """As `dsl.WorkspaceConfig` is compiled; what the pipeline's author said stays."""
    kubernetes = platform.setdefault("platforms", {}).setdefault("kubernetes", {})
    patch: Json = {}
    if workspace.storage_class:
        patch["storageClassName"] = workspace.storage_class
    if workspace.access_modes:
        patch["accessModes"] = list(workspace.access_modes)
    found: Json = {"size": workspace.size}
    if patch:
        found["kubernetes"] = {"pvcSpecPatch": patch}
    kubernetes.setdefault("pipelineConfig", {}).setdefault("workspace", found)


def _toleration(toleration: Toleration) -> Json:
    fields = msgspec.structs.asdict(toleration)
    found = {key: value for key, value in fields.items() if value not in ("", None)}
    if (seconds := found.pop("toleration_seconds", None)) is not None:
        found["tolerationSeconds"] = str(seconds)
    return found


def _dags(pipeline: Json) -> list[Json]:
    holders = [pipeline["root"], *pipeline.get("components", {}).values()]
    return [holder["dag"] for holder in holders if "dag" in holder]


def _set_default(pipeline: Json, name: str, value: object, environment: str) -> None:
    """Another default of a pipeline's parameter or of a field of one, where the pipeline has it."""
    parameters = from_spec(pipeline)
    if name in parameters or fields_called(name, parameters):
        set_defaults(pipeline, check({name: value}, parameters, f"Environment {environment}: "))
