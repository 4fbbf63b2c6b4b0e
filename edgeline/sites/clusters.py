"""Sites that are clusters: kustomize, Open Cluster Management, KubeEdge; see also `kserve`."""

from __future__ import annotations

from edgeline.sites.site import Object, Site
from edgeline.sites.tokens import Tokens
from edgeline.sites.workload import metadata, workload

SITE_LABEL = "edgeline.dev/site"  # of managed clusters and nodes that get the model


def kustomize(site: Site, tokens: Tokens) -> dict[str, list[Object]]:
    """Plain objects with a `kustomization.yaml`, for k3s and for overlays of one's own."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": site.namespace,
        "resources": [f"{site.name}.yaml"],
    }
    return {f"{site.name}.yaml": workload(site, tokens), "kustomization.yaml": [kustomization]}


def ocm(site: Site, tokens: Tokens) -> dict[str, list[Object]]:
    """A ManifestWorkReplicaSet: the workload on every managed cluster with the site's label."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": site.namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    chosen = {"labelSelector": {"matchLabels": {SITE_LABEL: "true"}}}
    placement = {
        "apiVersion": "cluster.open-cluster-management.io/v1beta1",
        "kind": "Placement",
        "metadata": metadata(site),
        "spec": {
            "predicates": [{"requiredClusterSelector": chosen}],
            # a cluster that is out of reach keeps its model
            "tolerations": [
                {
                    "key": "cluster.open-cluster-management.io/unreachable",
                    "operator": "Exists",
                }
            ],
        },
    }
    steps = {"type": "Progressive", "progressive": {"maxConcurrency": "20%"}}
    work = {
        "apiVersion": "work.open-cluster-management.io/v1alpha1",
        "kind": "ManifestWorkReplicaSet",
        "metadata": metadata(site),
        "spec": {
            "cascadeDeletionPolicy": "Background",
            "placementRefs": [{"name": site.name, "rolloutStrategy": steps}],
            "manifestWorkTemplate": {
                "workload": {"manifests": [namespace, *workload(site, tokens)]},
            },
        },
    }
    return {f"{site.name}.yaml": [placement, work]}


def kubeedge(site: Site, tokens: Tokens) -> dict[str, list[Object]]:
    """A NodeGroup of the site's nodes and an EdgeApplication on it."""
    group = {
        "apiVersion": "apps.kubeedge.io/v1alpha1",
        "kind": "NodeGroup",
        "metadata": {"name": site.name, "labels": site.labels},
        "spec": {"matchLabels": {SITE_LABEL: "true"}},
    }
    # KubeEdge has no NetworkPolicies at the edge
    manifests = [entry for entry in workload(site, tokens) if entry["kind"] != "NetworkPolicy"]
    application = {
        "apiVersion": "apps.kubeedge.io/v1alpha1",
        "kind": "EdgeApplication",
        "metadata": metadata(site),
        "spec": {
            "workloadTemplate": {"manifests": manifests},
            "workloadScope": {"targetNodeGroups": [{"name": site.name}]},
        },
    }
    return {f"{site.name}.yaml": [group, application]}
