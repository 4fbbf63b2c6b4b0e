"""Who reaches whom once a cluster enforces our NetworkPolicies, judged as Kubernetes defines them.

Source: the API reference of NetworkPolicy v1. A pod that a policy selects is open only to what one
of its policies lets pass; peers of one list are alternatives, fields of one peer hold together.
"""

from __future__ import annotations

import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from schemas import kustomize

from edgeline.sites.render import render
from edgeline.sites.settings import SiteSettings

sys.path.append(str(Path(__file__).parents[1] / "sites"))
from conftest_sites import pixels

__all__ = ["pixels"]
OVERLAYS = Path(__file__).parents[2] / "manifests" / "overlays"
Labels = dict[str, str]
Policies = list[dict[str, Any]]
NAME = "kubernetes.io/metadata.name"
TASK = {"pipelines.kubeflow.org/v2_component": "true"}  # as KFP labels its pods
OF_KSERVE = ("aws", "gcp", "kserve", "s3", "gs")
PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}


def passes(
    policies: Policies,
    direction: str,
    ours: Labels,
    port: int,
    peer: tuple[Labels, Labels] | str,
    protocol: str = "TCP",
) -> bool:
    """Whether our pod's policies let pass: a peer is labels of namespace and pod, or an address."""
    selecting = [
        policy["spec"]
        for policy in policies
        if matches(policy["spec"]["podSelector"], ours)
        and direction.title() in policy["spec"]["policyTypes"]
    ]
    assert selecting  # nobody's pods are open to all
    side = "from" if direction == "ingress" else "to"
    return any(
        (port, protocol) in {(entry["port"], entry["protocol"]) for entry in rule["ports"]}
        and (side not in rule or any(is_peer(entry, peer) for entry in rule[side]))
        for spec in selecting
        for rule in spec.get(direction, [])
    )


def is_peer(entry: dict[str, Any], peer: tuple[Labels, Labels] | str) -> bool:
    if isinstance(peer, str):
        cidr = entry.get("ipBlock", {}).get("cidr", "255.255.255.255/32")
        return ip_address(peer) in ip_network(cidr)
    if "ipBlock" in entry:
        return False
    namespace, pod = peer
    inside = {"matchLabels": {NAME: "edgeline"}}  # the policy's own, where it names none
    return matches(entry.get("namespaceSelector", inside), namespace) and matches(
        entry.get("podSelector", {}), pod
    )


def matches(selector: dict[str, Any], labels: Labels) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    asked = selector.get("matchExpressions", ())
    assert all(entry["operator"] == "Exists" for entry in asked)
    there = all(entry["key"] in labels for entry in asked)
    return there and selector.get("matchLabels", {}).items() <= labels.items()


def ours(objects: list[dict[str, Any]]) -> tuple[Policies, Labels]:
    policies = [entry for entry in objects if entry["kind"] == "NetworkPolicy"]
    (workload,) = [
        entry
        for entry in objects
        if entry["kind"] in ("Deployment", "DaemonSet", "StatefulSet")
        and entry["metadata"]["namespace"] == "edgeline"
    ]
    return policies, workload["spec"]["template"]["metadata"]["labels"]


def of_kserve(objects: list[dict[str, Any]]) -> tuple[Policies, Labels]:
    policies = [entry for entry in objects if entry["kind"] == "NetworkPolicy"]
    services = [entry for entry in objects if entry["kind"] == "InferenceService"]
    name = services[0]["metadata"]["name"] if services else "taxi"  # which a pipeline deploys
    return policies, {"serving.kserve.io/inferenceservice": name}


@pytest.fixture(
    params=["onprem", "azure", "edge", "laptop", "site", "aws", "gcp", "kserve", "s3", "gs"]
)
def deployed(
    request: pytest.FixtureRequest, pixels: Path, tmp_path: Path
) -> tuple[str, Policies, Labels]:
    name = request.param
    if name in ("aws", "gcp"):
        return name, *of_kserve(kustomize(OVERLAYS / name))
    if name in ("kserve", "s3", "gs"):
        stored = name != "kserve"
        settings = SiteSettings("kserve", model_from="store" if stored else "")
        address = f"{name}://models/mixed/3" if stored else ""
        place = ("registry.example/models", str(tmp_path))
        (path,) = render(str(pixels), settings, *place, address=address)
        return name, *of_kserve(list(yaml.safe_load_all(path.read_text())))
    if name != "site":
        return name, *ours(kustomize(OVERLAYS / name))
    path, _ = render(str(pixels), SiteSettings(), "registry.example/models", str(tmp_path))
    return name, *ours(list(yaml.safe_load_all(path.read_text())))


def test_predictions_come_in_from_those_who_may(deployed: tuple[str, Policies, Labels]) -> None:
    name, policies, pod = deployed

    def may(namespace: Labels, caller: Labels, port: int = 8080) -> bool:
        return passes(policies, "ingress", pod, port, (namespace, caller))

    assert may({NAME: "edgeline"}, {})
    assert may({NAME: "ingress-nginx", "edgeline.dev/may-predict": "true"}, {})
    assert may({NAME: "kubeflow"}, TASK)  # serve checks what it has deployed
    assert not may({NAME: "kubeflow"}, {})
    assert not may({NAME: "elsewhere"}, TASK)
    assert not may({NAME: "edgeline"}, {}, port=22)
    # KServe's servers have a port for HTTP/2 alone, and its agent has one before them
    for port in (8081, 9081):
        assert may({NAME: "edgeline"}, {}, port=port) is (name in OF_KSERVE)


def test_what_kserve_puts_before_a_predictor_reaches_it(
    deployed: tuple[str, Policies, Labels],
) -> None:
    """A transformer asks its predictor, a graph's router its steps."""
    name, policies, pod = deployed
    for port in (8080, 9081):
        reached = passes(policies, "egress", pod, port, ({NAME: "edgeline"}, pod))
        assert reached is (name in OF_KSERVE)


def test_prometheus_reaches_the_metrics_where_it_watches(
    deployed: tuple[str, Policies, Labels],
) -> None:
    name, policies, pod = deployed
    peer = ({NAME: "monitoring"}, PROMETHEUS)
    assert passes(policies, "ingress", pod, 8080, peer) is (
        name in ("onprem", "azure", "edge", "gcp", "aws")
    )


def test_names_and_models_are_reached_and_nothing_else(
    deployed: tuple[str, Policies, Labels],
) -> None:
    name, policies, pod = deployed
    dns = ({NAME: "kube-system"}, {"k8s-app": "kube-dns"})
    for protocol in ("UDP", "TCP"):
        assert passes(policies, "egress", pod, 53, dns, protocol)
        assert passes(policies, "egress", pod, 53, "169.254.20.10", protocol)
    assert not passes(policies, "egress", pod, 53, "8.8.8.8", "UDP")
    store = ({NAME: "kubeflow"}, {"app": "seaweedfs"})  # not where everything is denied
    if name not in ("aws", "gcp"):  # their own stores answer at 443
        port = 5000 if name in ("site", "kserve") else 9000
        assert passes(policies, "egress", pod, port, store)
    assert passes(policies, "egress", pod, 443, "93.184.216.34")
    assert not passes(policies, "egress", pod, 22, "93.184.216.34")
    # where a pod has its identity from: on GKE as the node is made, on EKS from an agent
    for address, port, names in (
        ("169.254.169.254", 80, ("gcp", "gs")),
        ("169.254.169.252", 988, ("gcp", "gs")),
        ("169.254.169.254", 988, ("gs",)),
        ("169.254.170.23", 80, ("s3",)),
    ):
        assert passes(policies, "egress", pod, port, address) is (name in names)


@pytest.mark.parametrize("name", ["onprem", "azure", "edge", "laptop"])
def test_the_store_is_not_in_the_namespace_where_everything_is_denied(name: str) -> None:
    objects = kustomize(OVERLAYS / name)
    denied = {
        entry["metadata"]["namespace"]
        for entry in objects
        if entry["kind"] == "NetworkPolicy" and not entry["spec"]["podSelector"]
    }
    (settings,) = [
        entry["data"]
        for entry in objects
        if entry["kind"] == "ConfigMap" and "MODELS" in entry["data"]
    ]
    host = settings["AWS_ENDPOINT_URL"].partition("://")[2].partition(":")[0]
    assert denied == {"edgeline"}
    assert host.split(".")[1] not in denied
