"""What a compiled pipeline says of the place that it runs in, by meaning.

A fact is what it is about (`limits.memory_limit`, `stores.AWS_ENDPOINT_URL`), the task that has
it ("" where it is the pipeline's) and its value. Nothing of a compiled pipeline is left out: what
has no meaning of its own here is `other`, and the rest, which is what runs, is one digest called
`program`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.environments.apply import amount
from edgeline.pipelines.parameters import constant, from_spec, settings_tasks

Json = dict[str, Any]
PROGRAM = "program"
# environment variables that say where a store is
STORE_VARIABLES = {
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("MINIO_ENDPOINT", "MINIO_SECURE", "STORAGE_EMULATOR_HOST"),
    *("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_SERVICE_ENDPOINT"),
}
# and those that say as whom
IDENTITY_VARIABLES = {
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_PROFILE"),
    *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST", "EDGELINE_IDENTITY_ONLY"),
}
# fields of kfp-kubernetes' KubernetesExecutorConfig and the words for them
AREAS = {
    "imagePullPolicy": "images",
    "securityContext": "identity",
    "secretAsVolume": "identity",
    "nodeAffinity": "placement",
    "podAffinity": "placement",
    "podMetadata": "placement",
    "pvcMount": "volumes",
    "emptyDirMounts": "volumes",
    "enabledSharedMemory": "volumes",
    "genericEphemeralVolume": "volumes",
    "configMapAsVolume": "volumes",
    "configMapAsEnv": "variables",
    "fieldPathAsEnv": "variables",
}
_RESOURCES = {  # KFP's texts; older compilers write the numbers alone
    "cpu_request": ("resourceCpuRequest", "cpuRequest"),
    "cpu_limit": ("resourceCpuLimit", "cpuLimit"),
    "memory_request": ("resourceMemoryRequest", "memoryRequest"),
    "memory_limit": ("resourceMemoryLimit", "memoryLimit"),
}


@dataclass(frozen=True, order=True)
class About:
    """What a fact is about.

    Attributes:
        what: begins with one of images, limits, identity, stores, parameters, sites, variables,
            placement, volumes, caching, other, program, and, of schedules files, schedules.
        task: as the compiled pipeline calls it; "" where it is the pipeline's.
    """

    what: str
    task: str = ""


def facts(pipeline: Mapping[str, Any], platform: Mapping[str, Any]) -> dict[About, Any]:
    """What a compiled pipeline says, by what it is about.

    Args:
        pipeline: KFP's IR.
        platform: its platform document; empty where there is none.
    """
    program, rest = copy.deepcopy(dict(pipeline)), copy.deepcopy(dict(platform))
    found: dict[About, Any] = {}
    if root := program.pop("defaultPipelineRoot", ""):
        found[About("stores.root")] = root
    found |= {_parameter(name): value for name, value in _defaults(program)}
    for label, executor in program.get("deploymentSpec", {}).get("executors", {}).items():
        if container := executor.get("container"):
            found |= _of_container(container, label.removeprefix("exec-"))
    kubernetes = rest.get("platforms", {}).get("kubernetes", {})
    for label, config in kubernetes.get("deploymentSpec", {}).pop("executors", {}).items():
        found |= _of_config(config, label.removeprefix("exec-"))
    for name, value in kubernetes.pop("pipelineConfig", {}).items():
        found[About(f"{'volumes' if name == 'workspace' else 'other'}.{name}")] = value
    found |= _caching(program)
    found |= {About(f"other.{name}"): value for name, value in _leaves(rest)}
    text = json.dumps(program, sort_keys=True).encode()
    found[About(PROGRAM)] = hashlib.sha256(text).hexdigest()[:16]
    return found


def same(about: About, one: Any, other: Any) -> bool:
    """Whether two values of a fact mean the same: 1000m is 1, and 1.0 is."""
    if about.what.startswith("limits.") and isinstance(one, str) and isinstance(other, str):
        try:
            return amount(one) == amount(other)
        except (KeyError, ValueError):  # a placeholder for what is known only at run time
            pass
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """An object's fields as `training.steps`, each with its value; anything else as it is."""
    if isinstance(value, Mapping) and value:
        for field in value:
            yield f"{name}.{field}", value[field]
    else:
        yield name, value


def _parameter(name: str) -> About:
    return About(f"{'sites' if name.rpartition('.')[2] == 'sites' else 'parameters'}.{name}")


def _defaults(program: Json) -> Iterator[tuple[str, Any]]:
    """The parameters' defaults, which are taken out.

    Objects stand twice, in the form and with the task that fills in what a form leaves out; the
    second is told where it says something else.
    """
    form: dict[str, Any] = {}
    for name, each in from_spec(program).items():
        entry = program["root"]["inputDefinitions"]["parameters"][name]
        if "defaultValue" in entry:
            form |= flat(each.called, entry.pop("defaultValue"))
    yield from form.items()
    for task in settings_tasks(program):
        kept = constant(task, "defaults")
        if not isinstance(kept, Mapping):
            continue
        del task["inputs"]["parameters"]["defaults"]
        for theme, fields in kept.items():
            for name, value in flat(theme, fields):
                if name not in form:
                    yield name, value
                elif form[name] != value:
                    yield f"{name} (of the task settings)", value


def _of_container(container: Json, task: str) -> Iterator[tuple[About, Any]]:
    yield About("images", task), container.pop("image", "")
    for entry in container.pop("env", ()):
        yield About(_variable(entry["name"]), task), entry.get("value", "")
    resources = container.pop("resources", {})
    for name, keys in _RESOURCES.items():
        given = [value for key in keys if (value := resources.pop(key, None)) is not None]
        if given:
            yield About(f"limits.{name}", task), given[0]
    if accelerator := resources.pop("accelerator", {}):
        kind = accelerator.get("resourceType") or accelerator.get("type")
        count = accelerator.get("resourceCount") or accelerator.get("count")
        yield About("limits.accelerator", task), f"{count} {kind}"
    for name, value in resources.items():
        yield About(f"limits.{name}", task), value


def _variable(name: str) -> str:
    if name in STORE_VARIABLES:
        return f"stores.{name}"
    return f"{'identity' if name in IDENTITY_VARIABLES else 'variables'}.{name}"


def _of_config(config: Json, task: str) -> Iterator[tuple[About, Any]]:
    if (seconds := config.pop("activeDeadlineSeconds", None)) is not None:
        yield About("limits.timeout", task), f"{seconds}"
    for secret in config.pop("secretAsEnv", ()):
        for pair in secret.get("keyToEnv", ()):
            where = f"{pair['secretKey']} of the secret {_name(secret)}"
            where += ", which may be missing" if secret.get("optional") else ""
            yield About(f"identity.{pair['envVar']}", task), where
    if pulled := config.pop("imagePullSecret", ()):
        yield About("identity.image_pull_secrets", task), sorted(map(_name, pulled))
    selector = config.pop("nodeSelector", {})
    for label, value in selector.pop("labels", {}).items():
        yield About(f"placement.node_selector.{label}", task), value
    if selector:
        yield About("placement.node_selector", task), selector
    if tolerations := config.pop("tolerations", ()):
        in_order = sorted(tolerations, key=lambda entry: json.dumps(entry, sort_keys=True))
        yield About("placement.tolerations", task), in_order
    for name, value in config.items():
        for what, below in flat(f"{AREAS.get(name, 'other')}.{name}", value):
            yield About(what, task), below


def _name(secret: Mapping[str, Any]) -> str:
    """A secret's name: a constant, or whatever a parameter says at run time."""
    given = secret.get("secretNameParameter", {})
    return str(
        given.get("runtimeValue", {}).get("constant")
        or secret.get("secretName")
        or json.dumps(given, sort_keys=True)
    )


def _caching(program: Json) -> Iterator[tuple[About, Any]]:
    seen: set[str] = set()
    for key, holder in {"root": program.get("root", {}), **program.get("components", {})}.items():
        for name, task in holder.get("dag", {}).get("tasks", {}).items():
            if "cachingOptions" in task:
                enabled = task.pop("cachingOptions").get("enableCache", False)
                yield About("caching", f"{name} of {key}" if name in seen else name), enabled
                seen.add(name)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _leaves(below, f"{path}.{name}" if path else name)
    else:
        yield path, value
