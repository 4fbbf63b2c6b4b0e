"""The rules as Argo Events' EventSource and Sensor, as far as these can tell them.

A Sensor starts something for each event that fits. A Job of a fixed name cannot be made while the
last one is there, and Kubernetes removes that one some time after its end: so the cool-down and the
budget hold. What a Sensor cannot tell is named in the comment above, and a rule that would mean
something else there is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from edgeline.formats import plain_yaml
from edgeline.images import reference
from edgeline.triggers.rules import CANDIDATE, DAY, KINDS, TriggerFile, TriggerRule, filled

NAME = "edgeline-triggers"
PORT = 12000
SECRET, KEY = "edgeline-triggers-argo", "token"
_UNTOLD = (
    "what Argo Events does not do with events, and `edgeline triggers serve` does: it verifies no "
    "signature (a bearer token stands in: `edgeline serve` sends none, so that something between "
    "has to add it), refuses no event for its age, and forgets events for which no Job can be made"
)
_RIGHTS = (
    "the Sensor's service account may create Jobs, and with these run any image as any service "
    "account of its namespace: give it a namespace of its own, which has no other service accounts "
    "and secrets than these need"
)


def manifests(declared: TriggerFile) -> str:
    """The EventSource and the Sensor as YAML, under a comment that names what they do not tell."""
    return plain_yaml.dump(
        documents(declared), sort_keys=False, comment="\n".join(untold(declared))
    )


def documents(declared: TriggerFile) -> list[dict[str, Any]]:
    """The EventSource and, where there is a rule for it, the Sensor and its rights."""
    told = [rule for rule in declared.rules if not _unfit(rule)]
    return [_source(), *(_rights() if told else ()), *([_sensor(told)] if told else ())]


def untold(declared: TriggerFile) -> list[str]:
    """What these do not tell of the rules, and which rules are left out."""
    left_out = ((rule.name, _unfit(rule)) for rule in declared.rules)
    rights = [_RIGHTS] if any(not _unfit(rule) for rule in declared.rules) else []
    return [_UNTOLD, *rights, *(f"rule {name} is left out: {why}" for name, why in left_out if why)]


def _unfit(rule: TriggerRule) -> str:
    """Why a Sensor would mean something else; empty where it does not."""
    if rule.run.is_here:
        return "it runs here, and a Job's pod has nothing of this machine"
    if rule.quorum > 1:
        return f"a Sensor does not count {rule.quorum} devices within {rule.within:g} s"
    if "{since}" in json.dumps(rule.run.parameters) or "{until}" in json.dumps(rule.run.parameters):
        return "a Sensor does not know when its last run was"
    return ""


def _source() -> dict[str, Any]:
    webhook = {
        "port": str(PORT),
        "endpoint": "/events",
        "method": "POST",
        "url": "",  # required by its schema, and of no use to a webhook that is only called
        "maxPayloadSize": 1 << 20,
        "authSecret": {"name": SECRET, "key": KEY},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "EventSource",
        "metadata": {"name": NAME},
        "spec": {
            "service": {"ports": [{"port": PORT, "targetPort": PORT}]},
            "webhook": {"events": webhook},
        },
    }


def _rights() -> list[dict[str, Any]]:
    """Who the Sensor's pod is, and all that it may do: make Jobs (see `_RIGHTS`)."""
    name, group = f"{NAME}-argo", "rbac.authorization.k8s.io"
    metadata = {"name": name}
    role = {"apiGroup": group, "kind": "Role", "name": name}
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [jobs]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": name}],
        },
    ]


def _sensor(rules: list[TriggerRule]) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": NAME},
        "spec": {
            "template": {"serviceAccountName": f"{NAME}-argo"},
            "dependencies": [
                {
                    "name": name,
                    "eventSourceName": NAME,
                    "eventName": "events",
                    "filters": {"data": list(_filters(rule, kind))},
                }
                for rule in rules
                for name, kind in _dependencies(rule)
            ],
            "triggers": [_trigger(rule) for rule in rules],
        },
    }


def _dependencies(rule: TriggerRule) -> list[tuple[str, str]]:
    return [(f"{rule.name}-{place}", kind) for place, kind in enumerate(rule.signals)]


def _filters(rule: TriggerRule, kind: str) -> Iterator[dict[str, Any]]:
    """What an event has to fit; Argo takes a value as a regular expression of Go."""
    pattern = f"^{re.escape(KINDS[kind])}" if kind in KINDS else f"^{re.escape(kind)}$"
    yield _filter("body.type", pattern)
    yield {**_filter("body.type", r"\.resolved$"), "comparator": "!="}
    if kind == "decay" or kind.startswith(KINDS["decay"]):  # it takes back what was said
        taken_back = r'"decayed":\s*\[\s*\]|"drifting":\s*false'
        yield {**_filter("body.data", taken_back), "comparator": "!="}
    if rule.model:
        yield _filter("body.data.model", f"^{re.escape(rule.model)}$")
    if rule.features:
        names = "|".join(map(re.escape, rule.features))
        if kind in ("drift", "decay") or kind.startswith((KINDS["drift"], KINDS["decay"])):
            name = "drifting" if "drift" in kind else "decayed"  # a list, matched as JSON
            yield _filter(f"body.data.{name}", rf'"({names})(\.[^"]*)?"')
        else:
            yield _filter("body.data.feature", rf"^({names})(\..*)?$")


def _filter(path: str, pattern: str) -> dict[str, Any]:
    return {"path": path, "type": "string", "value": [pattern]}


def _trigger(rule: TriggerRule) -> dict[str, Any]:
    return {
        "template": {
            "name": rule.name,
            "conditions": " || ".join(name for name, _ in _dependencies(rule)),
            "k8s": {"operation": "create", "source": {"resource": _job(rule)}},
        }
    }


def _job(rule: TriggerRule) -> dict[str, Any]:
    container = {
        "name": "submit",
        "image": reference("pipeline"),
        "command": _command(rule),
        "env": [
            {"name": "KF_PIPELINES_SA_TOKEN_PATH", "value": "/var/run/secrets/kfp/token"},
        ],
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "token", "mountPath": "/var/run/secrets/kfp", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    token = {"path": "token", "audience": "pipelines.kubeflow.org", "expirationSeconds": 7200}
    pod = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}},
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"edgeline-{rule.name}"},
        "spec": {
            "backoffLimit": 0,  # again might be twice
            "activeDeadlineSeconds": 600,
            "ttlSecondsAfterFinished": math.ceil(max(rule.cool_down, DAY / rule.budget)),
            "template": {"spec": pod},
        },
    }


def _command(rule: TriggerRule) -> list[str]:
    order = rule.run
    options = {
        "--host": order.where,
        "--namespace": order.namespace,
        "--env": order.environment,
        "--experiment": order.experiment,
    }
    places = {"rule": rule.name, "mark": f"edgeline-{rule.name}", "model": rule.model}
    given = filled(dict(order.parameters), places)
    if rule.then == CANDIDATE:
        given[CANDIDATE] = rule.name
    texts = {n: each if isinstance(each, str) else json.dumps(each) for n, each in given.items()}
    return [
        *("edgeline", "submit", order.pipeline),
        *(part for option, value in options.items() if value for part in (option, value)),
        *(part for name, value in texts.items() for part in ("--set", f"{name}={value}")),
    ]
