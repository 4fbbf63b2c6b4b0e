"""Rules on what a container may do, and on secrets and rights."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from edgeline.lint.documents import Document, Path_, Tree, at, listed, mapped
from edgeline.lint.rule import WARNING, Found, Rule

CONTAINERS = ("containers", "initContainers")
SECRET_NAME = re.compile(
    r"(?i)(?:^|[_-])(?:password|passwd|secret|token|api_?key|access_?key|secret_?key|"
    r"private_?key|credentials)$"
)
SECRET_VALUE = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|gh[pousr]_[A-Za-z0-9]{36}|"
    r"xox[baprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35}"
)
DEFAULTS = ("minio", "minio123")
PODLESS = ("IR", "CustomResourceDefinition", "Kustomization", "ConfigMap")


def pods(tree: Tree) -> Iterator[tuple[Document, Path_, Mapping[str, Any]]]:
    """Every pod specification, in whatever kind: what has a list of `containers`."""
    for document in tree.documents:
        if document.patch or document.kind in PODLESS or not document.kind:
            continue
        for path, value in document.values:
            if isinstance(value, Mapping) and isinstance(value.get("containers"), list):
                yield document, path, value


def containers(tree: Tree) -> Iterator[tuple[Document, Path_, Mapping[str, Any], Any]]:
    """Every container with its path and its pod."""
    for document, path, pod in pods(tree):
        for field in CONTAINERS:
            for index, container in enumerate(listed(pod, field)):
                if isinstance(container, Mapping):
                    yield document, (*path, field, index), container, pod


def _root(tree: Tree) -> Iterator[Found]:
    for document, path, container, pod in containers(tree):
        contexts = (at(container, "securityContext"), at(pod, "securityContext"))
        users = [at(context, "runAsUser") for context in contexts]
        user = next((user for user in users if user is not None), None)
        promised = [at(context, "runAsNonRoot") for context in contexts]
        promise = next((value for value in promised if value is not None), None)
        if user == 0 or promise is not True:
            yield Found(document, path, f"container {container.get('name')} may run as root")


def _privileged(tree: Tree) -> Iterator[Found]:
    for document, path, pod in pods(tree):
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(field):
                yield Found(document, (*path, field), f"the pod has {field}")
        for index, volume in enumerate(listed(pod, "volumes")):
            if at(volume, "hostPath"):
                where = (*path, "volumes", index)
                yield Found(
                    document, where, f"the pod has the node's {at(volume, 'hostPath', 'path')}"
                )
    for document, path, container, _ in containers(tree):
        if at(container, "securityContext", "privileged"):
            yield Found(document, path, f"container {container.get('name')} is privileged")


def _escalation(tree: Tree) -> Iterator[Found]:
    for document, path, container, _ in containers(tree):
        context = mapped(container, "securityContext")
        if context.get("privileged"):
            continue
        dropped = [str(entry).upper() for entry in listed(context, "capabilities", "drop")]
        if context.get("allowPrivilegeEscalation") is not False or "ALL" not in dropped:
            what = f"container {container.get('name')} may gain capabilities"
            yield Found(document, path, what)


def _unconfined(tree: Tree) -> Iterator[Found]:
    for document, path, container, pod in containers(tree):
        contexts = (mapped(container, "securityContext"), mapped(pod, "securityContext"))
        kinds = [at(context, "seccompProfile", "type") for context in contexts]
        kind = next((kind for kind in kinds if kind is not None), None)
        if kind not in ("RuntimeDefault", "Localhost") and not contexts[0].get("privileged"):
            what = f"container {container.get('name')} may make every system call"
            yield Found(document, path, what)


def _writable(tree: Tree) -> Iterator[Found]:
    for document, path, container, _ in containers(tree):
        if at(container, "securityContext", "readOnlyRootFilesystem") is not True:
            what = f"container {container.get('name')} can write to its own image"
            yield Found(document, path, what)


def _limits(tree: Tree) -> Iterator[Found]:
    for document, path, container, _ in containers(tree):
        if (document.kind, container.get("name")) == ("FlinkDeployment", "flink-main-container"):
            continue  # its operator sets what spec.taskManager.resource says
        limits = mapped(container, "resources", "limits")
        missing = [name for name in ("cpu", "memory") if name not in limits]
        if missing:
            what = f"container {container.get('name')} has no limit of {' and '.join(missing)}"
            yield Found(document, path, what)
    for document in tree.of("IR", "PipelineVersion"):
        root, pipeline = document.pipeline or ((), {})
        for name, executor in mapped(pipeline, "deploymentSpec", "executors").items():
            if not isinstance(at(executor, "container"), Mapping):
                continue
            resources = mapped(executor, "container", "resources")
            missing = [
                kind
                for kind in ("cpu", "memory")
                if not any(f"{kind}limit" in key.lower() for key in resources)
            ]
            if missing:
                path = (*root, "deploymentSpec", "executors", name)
                yield Found(document, path, f"{name} has no limit of {' and '.join(missing)}")


def _secrets(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        if document.kind == "Secret":
            if any(not _is_default(value) for value in _secret_values(document).values()):
                yield Found(document, (), f"Secret {document.name} holds its values")
            continue
        for path, value in document.values:
            if isinstance(value, str) and SECRET_VALUE.search(value):
                yield Found(document, path, "a credential stands here in clear")
            elif isinstance(value, Mapping) and isinstance(value.get("value"), str):
                name = str(value.get("name", ""))
                given = value["value"]
                seen_elsewhere = _is_default(given) or SECRET_VALUE.search(given)
                if SECRET_NAME.search(name) and not _refers(given) and not seen_elsewhere:
                    yield Found(document, path, f"{name} has its value in clear")


def _defaults(tree: Tree) -> Iterator[Found]:
    for document in tree.documents:
        if document.kind == "Secret":
            values = _secret_values(document)
            if any(value == DEFAULTS[1] for value in values.values()):
                yield Found(document, (), f"Secret {document.name} has MinIO's published password")
            continue
        for path, value in document.values:
            if value == DEFAULTS[1]:
                yield Found(document, path, "this is MinIO's published password")


def _secret_values(document: Document) -> dict[str, str]:
    values = {}
    for field in ("data", "stringData"):
        for key, value in mapped(document.value, field).items():
            text = str(value)
            if field == "data":
                with contextlib.suppress(binascii.Error, ValueError):
                    text = base64.b64decode(text, validate=True).decode("utf-8", "replace")
            if text:
                values[key] = text
    return values


def _is_default(value: str) -> bool:
    return value in DEFAULTS


def _refers(value: str) -> bool:
    return not value or value.startswith(("$", "{{", "file:", "env:", "secret:"))


def _rights(tree: Tree) -> Iterator[Found]:
    for document in tree.of("Role", "ClusterRole"):
        for index, rule in enumerate(listed(document.value, "rules")):
            for field in ("apiGroups", "resources", "verbs"):
                if "*" in (listed(rule, field)):
                    what = f"{document.kind} {document.name} has every one of {field}"
                    yield Found(document, ("rules", index, field), what)
    for document in tree.of("RoleBinding", "ClusterRoleBinding"):
        if document.get("roleRef", "name") in ("cluster-admin", "admin"):
            what = f"{document.kind} {document.name} gives {document.get('roleRef', 'name')}"
            yield Found(document, ("roleRef", "name"), what)


rules = (
    Rule(
        "runs-as-root",
        "A break-out of the container is then root on the node; PodSecurity restricted refuses it.",
        "set securityContext.runAsNonRoot: true and a runAsUser above 0",
        _root,
    ),
    Rule(
        "privileged",
        "The container sees the node's devices, network or processes.",
        "ask a device plugin for the device, or take the line out",
        _privileged,
    ),
    Rule(
        "gains-privileges",
        "A set-uid program in the image makes the process root again.",
        "set allowPrivilegeEscalation: false and capabilities.drop: [ALL]",
        _escalation,
    ),
    Rule(
        "no-seccomp",
        "The kernel's whole surface is open to it; PodSecurity restricted refuses it.",
        "set securityContext.seccompProfile.type: RuntimeDefault",
        _unconfined,
    ),
    Rule(
        "writable-root",
        "What breaks in can replace the program, and logs fill the node's disk.",
        "set readOnlyRootFilesystem: true and mount an emptyDir where it writes",
        _writable,
        WARNING,
    ),
    Rule(
        "missing-limits",
        "One task that grows takes the node, and its neighbours, with it.",
        "set resources.limits, or in a pipeline set_cpu_limit and set_memory_limit",
        _limits,
    ),
    Rule(
        "secret-in-clear",
        "Git keeps it for ever, and everyone who can read the pipeline reads it.",
        "take it from a Secret (secretKeyRef), an ExternalSecret or a SealedSecret",
        _secrets,
    ),
    Rule(
        "default-credentials",
        "Everyone knows them; they open the store of every artifact.",
        "set credentials of your own",
        _defaults,
    ),
    Rule(
        "rights-too-wide",
        "Whoever can start a pipeline can do all of that.",
        "name what is needed",
        _rights,
    ),
)
