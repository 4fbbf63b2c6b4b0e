"""A pod of an environment, for what runs a component's work outside of Kubeflow Pipelines.

What `apply` puts into a compiled pipeline for a task, as Kubernetes itself takes it: image,
resources, variables, secrets by reference, volumes, nodes. The pod is as the strictest of
Kubernetes' Pod Security Standards wants it, with a root that nothing can write to and a folder /tmp
for what the work keeps while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edgeline import images
from edgeline.environments.apply import (
    check_mounts,
    image_of,
    refuse_unused_gpu,
    resources_of,
    store_variables,
    volume_name,
)
from edgeline.environments.environment import (
    Environment,
    Neighbours,
    Requirement,
    Resources,
    Toleration,
    Volume,
)

Json = dict[str, Any]
SCRATCH = "/tmp"  # a volume of the pod's own
QUEUE = "kueue.x-k8s.io/"  # labels by which Kueue admits


def pod_template(
    environment: Environment,
    component: str,
    image: str,
    container: str,
    command: Sequence[str],
    variables: Mapping[str, str],
    labels: Mapping[str, str],
) -> Json:
    """A pod template, `metadata` and `spec`, whose one container ends once.

    Args:
        component: whose resources it has.
        image: a name of the lock file, unless the environment says another.
        container: its name.
        command: what it runs.
        variables: of the container; `$(NAME)` in a value is a text like any other.
        labels: of the pod, beside the environment's.

    Raises:
        EdgelineError: the lock has no such image, a volume and a secret have one path, or a GPU is
            asked for by an image that cannot use one.
    """
    resources = resources_of(environment, component)
    reference = image_of(images.reference(image), environment, resources)
    refuse_unused_gpu(environment, component, reference, resources)
    check_mounts(environment, resources)
    volumes, mounts = _volumes(resources)
    all_variables = {**store_variables(environment), **environment.variables, **variables}
    env: list[Json] = [
        # Kubernetes puts other variables where it finds $(NAME), and makes $ of $$
        {"name": name, "value": value.replace("$", "$$")}
        for name, value in all_variables.items()
    ]
    user = environment.run_as_user
    # whose id is given by the cluster where the environment says none: so is the group of volumes
    group, own_user = ({}, {}) if user is None else ({"fsGroup": user}, {"runAsUser": user})
    spec: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {**group, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": container,
                "image": reference,
                "command": list(command),
                "env": [*env, *_secrets(environment, resources)],
                "resources": _limits(resources),
                # not of the pod: a container that somebody puts beside it may need another user
                "securityContext": {
                    "runAsNonRoot": True,
                    **own_user,
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    optional = {
        "serviceAccountName": environment.service_account,
        "imagePullSecrets": [{"name": name} for name in environment.image_pull_secrets],
        "nodeSelector": dict(resources.node_selector),
        "tolerations": [_toleration(each) for each in resources.tolerations],
        "affinity": _affinity(resources),
        "activeDeadlineSeconds": resources.timeout,
    }
    spec |= {name: value for name, value in optional.items() if value}
    metadata: Json = {"labels": {**resources.labels, **labels}}
    if resources.annotations:
        metadata["annotations"] = dict(resources.annotations)
    return {"metadata": metadata, "spec": spec}


def take_queue(template: Json) -> dict[str, str]:
    """The labels of a pod template that are for Kueue, taken out of it.

    Kueue admits a Job or a TrainJob whole, by labels of its own; those of its pods would have each
    pod admitted beside it, or nothing.
    """
    labels = template["metadata"]["labels"]
    return {name: labels.pop(name) for name in list(labels) if name.startswith(QUEUE)}


def _secrets(environment: Environment, resources: Resources) -> list[Json]:
    store = environment.object_store.secret
    found = {}
    for secret in (*((store,) if store else ()), *environment.secrets, *resources.secrets):
        for variable, key in secret.env.items():
            reference: Json = {"name": secret.name, "key": key}
            reference |= {"optional": True} if secret.optional else {}
            found[variable] = {"name": variable, "valueFrom": {"secretKeyRef": reference}}
    return list(found.values())


def _limits(resources: Resources) -> Json:
    found: Json = {}
    for end, field in (("request", "requests"), ("limit", "limits")):
        given = {kind: getattr(resources, f"{kind}_{end}") for kind in ("cpu", "memory")}
        found[field] = {kind: quantity for kind, quantity in given.items() if quantity}
    if accelerator := resources.accelerator:  # Kubernetes requests what is a limit
        found["limits"][accelerator.type] = str(accelerator.count)
    return {field: given for field, given in found.items() if given}


def _volumes(resources: Resources) -> tuple[list[Json], list[Json]]:
    """The pod's volumes, and where its container has them."""
    volumes: list[Json] = []
    mounts: list[Json] = []
    for volume in resources.volumes:
        name = volume_name(volume.path)
        volumes.append({"name": name, **_source(volume)})
        sub = {"subPath": volume.sub_path} if volume.sub_path else {}
        mounts.append({"name": name, "mountPath": volume.path, **sub})
    for files in resources.secret_files:
        name = volume_name(files.path)
        secret: Json = {"secretName": files.name}
        secret |= {"optional": True} if files.optional else {}
        volumes.append({"name": name, "secret": secret})
        mounts.append({"name": name, "mountPath": files.path, "readOnly": True})
    if SCRATCH not in {each["mountPath"] for each in mounts}:
        volumes.append({"name": "scratch", "emptyDir": {}})
        mounts.append({"name": "scratch", "mountPath": SCRATCH})
    return volumes, mounts


def _source(volume: Volume) -> Json:
    if volume.claim:
        return {"persistentVolumeClaim": {"claimName": volume.claim}}
    if volume.memory:
        return {"emptyDir": {"medium": "Memory", "sizeLimit": volume.memory}}
    claim: Json = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": volume.size}},
    }
    claim |= {"storageClassName": volume.storage_class} if volume.storage_class else {}
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def _toleration(toleration: Toleration) -> Json:
    fields = msgspec.structs.asdict(toleration)
    found = {key: value for key, value in fields.items() if value not in ("", None)}
    if "toleration_seconds" in found:
        found["tolerationSeconds"] = found.pop("toleration_seconds")
    return found


def _affinity(resources: Resources) -> Json:
    found: Json = {}
    if resources.node_affinity:
        found["nodeAffinity"] = _node_affinity(resources.node_affinity)
    for apart, kind in ((False, "podAffinity"), (True, "podAntiAffinity")):
        if beside := [each for each in resources.pod_affinity if each.apart == apart]:
            found[kind] = _pod_affinity(beside)
    return found


def _node_affinity(requirements: Sequence[Requirement]) -> Json:
    found: Json = {}
    required, wished = [], []
    for each in requirements:
        term: Json = {"key": each.key, "operator": each.operator}
        term |= {"values": list(each.values)} if each.values else {}
        selector = {"matchExpressions": [term]}
        if each.weight:
            wished.append({"weight": each.weight, "preference": selector})
        else:
            required.append(term)
    if required:  # all of them
        terms = [{"matchExpressions": required}]
        found["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if wished:
        found["preferredDuringSchedulingIgnoredDuringExecution"] = wished
    return found


def _pod_affinity(neighbours: Sequence[Neighbours]) -> Json:
    found: Json = {}
    for each in neighbours:
        term = {
            "labelSelector": {"matchLabels": dict(each.labels)},
            "topologyKey": each.topology,
        }
        if each.weight:
            wished = {"weight": each.weight, "podAffinityTerm": term}
            found.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).append(wished)
        else:
            required = found.setdefault("requiredDuringSchedulingIgnoredDuringExecution", [])
            required.append(term)
    return found
