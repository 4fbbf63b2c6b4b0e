"""The linter and a real API server agree on names and sizes."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer

from edgeline.lint.lint import lint

Object = dict[str, Any]
KINDS = {
    "CronJob": "batch/v1",
    "ConfigMap": "v1",
    "Deployment": "apps/v1",
    "InferenceService": "serving.kserve.io/v1beta1",
    "Job": "batch/v1",
    "Namespace": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "StatefulSet": "apps/v1",
}
POD = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": POD["containers"]}}
SPECS: dict[str, Object] = {
    "CronJob": {"schedule": "1 * * * *", "jobTemplate": {"spec": {"template": {"spec": POD}}}},
    "Deployment": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE},
    "InferenceService": {"predictor": {}},
    "Job": {"template": {"spec": POD}},
    "NetworkPolicy": {"podSelector": {}},
    "Service": {"ports": [{"port": 80}]},
    "StatefulSet": {
        "selector": {"matchLabels": {"a": "b"}},
        "serviceName": "a",
        "template": TEMPLATE,
    },
}
NAMES = ["a", "3d", "a.b", "a..b", "a-.b", ".a", "a_b", "A", "a-", "a:b"]
NAMES += ["x" * length for length in (52, 53, 63, 64, 253, 254)]


def found(tmp_path: Path, document: Object, rule: str) -> bool:
    path = tmp_path / "object.json"
    path.write_text(json.dumps(document))
    return rule in {finding.rule for finding in lint([path])}


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_refused_by_both_or_by_none(
    kind: str, api_server: ApiServer, tmp_path: Path
) -> None:
    objects: list[Object] = []
    for name in NAMES:
        metadata = {"name": name} | ({} if kind == "Namespace" else {"namespace": "managed"})
        spec = {"spec": SPECS[kind]} if kind in SPECS else {}
        objects.append({"apiVersion": KINDS[kind], "kind": kind, "metadata": metadata, **spec})
    # one call for all of them: it goes on after one that is refused
    create = ("create", "--dry-run=server", "-o", "name", "-f", "-")
    done = api_server.try_kubectl(*create, given=objects)
    taken = {line.partition("/")[2] for line in done.stdout.splitlines()}
    passed = {
        entry["metadata"]["name"]
        for entry in objects
        if not found(tmp_path, entry, "name-rejected")
    }
    assert taken == passed


def version(size: int) -> Object:
    spec = {"pipelineName": "a", "pipelineSpec": {"root": "y" * size}}
    metadata = {"name": "large", "namespace": "kubeflow"}
    kind = {"apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": "PipelineVersion"}
    return {**kind, "metadata": metadata, "spec": spec}


def config_map(size: int) -> Object:
    metadata = {"name": "large", "namespace": "kubeflow"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"a": "y" * size},
    }


@pytest.mark.parametrize(
    ("document", "taken"),
    [
        (version(1_500_000), True),
        (version(1_600_000), False),
        (version(3_200_000), False),
        (config_map(1 << 20), True),
        (config_map((1 << 20) + 1), False),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else str(value),
)
def test_what_is_too_large_for_etcd_is_refused_by_both(
    document: Object, taken: bool, api_server: ApiServer, tmp_path: Path
) -> None:
    done = api_server.try_kubectl("apply", "--server-side", "-f", "-", given=document)
    assert (done.returncode == 0) is taken, done.stderr
    assert found(tmp_path, document, "too-large-for-etcd") is not taken


@pytest.mark.parametrize(("size", "option"), [*product((200_000, 300_000), ("true", "false"))])
def test_client_side_apply_ends_where_the_linter_says(
    size: int, option: str, api_server: ApiServer, tmp_path: Path
) -> None:
    document = version(size)
    document["metadata"]["name"] = f"apply-{size}-{option}"
    warned = found(tmp_path, document, "too-large-for-apply")
    done = api_server.try_kubectl("apply", f"--server-side={option}", "-f", "-", given=document)
    assert (done.returncode == 0) is (option == "true" or not warned), done.stderr
