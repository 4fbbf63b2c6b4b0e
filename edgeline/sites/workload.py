"""The server with one model as Kubernetes objects: what kustomize, OCM and KubeEdge deploy."""

from __future__ import annotations

from collections.abc import Sequence

from edgeline.sites import accelerators
from edgeline.sites.site import Object, Site
from edgeline.sites.tokens import Tokens

DRAIN = 5  # seconds that what sends requests to a pod has to learn of its end
PORT, GRPC_PORT = 8080, 8081  # the first for HTTP and gRPC, the second for HTTP/2 alone
LAST_WORDS = "FallbackToLogsOnError"  # why it ended is in the pod's status
CONTAINER_SECURITY: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY: Object = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# where the cloud of a store tells a pod its identity: GKE at port 988 where the node itself takes
# the call, and EKS's agent; not EC2's own metadata, which has the identity of the node
METADATA = {
    "gs": (("169.254.169.254", "169.254.169.252"), (80, 988)),
    "s3": (("169.254.170.23",), (80,)),
}
ROLLING: Object = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
RESOURCES: Object = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "2", "memory": "512Mi"},
}


def workload(site: Site, tokens: Tokens) -> list[Object]:
    """Deployment, Service and a NetworkPolicy that lets predictions in and the model's pull out."""
    return [_deployment(site, tokens), _service(site), network_policy(site, _chosen(site), PORT)]


def metadata(site: Site) -> Object:
    """The metadata of each object of a site."""
    return {
        "name": site.name,
        "namespace": site.namespace,
        "labels": site.labels,
        "annotations": site.annotations,
    }


def credentials_name(site: Site) -> str:
    """The `docker-registry` Secret, where the models' registry asks for one."""
    return f"{site.name}-registry"


def _chosen(site: Site) -> dict[str, str]:
    return {"app.kubernetes.io/name": site.name}


def probes(port: int | str) -> Object:
    """A server's three probes; `port` by its number or name. A large model may load for 300 s."""

    def probe(path: str, **more: int) -> Object:
        return {"httpGet": {"path": path, "port": port}, **more}

    return {
        "startupProbe": probe("/v2/health/live", periodSeconds=2, failureThreshold=150),
        "readinessProbe": probe("/v2/health/ready", periodSeconds=5),
        "livenessProbe": probe("/v2/health/live", periodSeconds=10),
    }


def _deployment(site: Site, tokens: Tokens) -> Object:
    chosen = _chosen(site)
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": 30,
        "containers": [_container(site, tokens)],
        "volumes": [
            # as long as the pod lives, so also over a reboot without network
            {"name": "state", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "registry", "secret": _credentials(site)},
            *tokens.volumes,
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(site),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": chosen},
            "strategy": strategy(site),
            "template": {
                "metadata": {"labels": site.labels, "annotations": site.annotations},
                "spec": pod,
            },
        },
    }


def resources(site: Site) -> Object:
    """What a server's container asks for; an accelerator is a limit alone, by its device plugin."""
    found = accelerators.find(site.accelerator).resource
    limits = {**RESOURCES["limits"], **({found: 1} if found else {})}
    return {**RESOURCES, "limits": limits}


def strategy(site: Site) -> Object:
    """How one pod takes another's place: of two that keep windows each would lack rows."""
    if site.keeps_windows or site.accelerator:  # of which a node has one
        return {"type": "Recreate"}
    return ROLLING


def _container(site: Site, tokens: Tokens) -> Object:
    return {
        "name": "edge-server",
        "image": site.server,
        "args": [
            *(site.source, "--state", "/var/lib/edgeline", "--drain", str(DRAIN)),
            *site.names(site.name),
            *tokens.options,
        ],
        "env": [{"name": "DOCKER_CONFIG", "value": "/etc/edgeline/registry"}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "terminationMessagePolicy": LAST_WORDS,
        **probes("http"),
        "resources": resources(site),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "state", "mountPath": "/var/lib/edgeline"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "registry", "mountPath": "/etc/edgeline/registry", "readOnly": True},
            *tokens.mounts,
        ],
    }


def _credentials(site: Site) -> Object:
    items = [{"key": ".dockerconfigjson", "path": "config.json"}]
    return {"secretName": credentials_name(site), "optional": True, "items": items}


def _service(site: Site) -> Object:
    port = {"name": "http", "port": 80, "targetPort": "http"}
    spec = {"selector": _chosen(site), "ports": [port]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(site), "spec": spec}


def network_policy(
    site: Site,
    chosen: dict[str, str],
    *ports: int,
    within: Sequence[int] = (),
    store: str = "",
) -> Object:
    """Predictions in; names, and the registry or store of the models, out.

    Args:
        chosen: labels of the pods.
        ports: that predictions come in by.
        within: ports by which pods of the namespace ask each other.
        store: the scheme of the object store that the model comes from, `s3` or `gs`: in a cluster
            it mostly answers at port 9000, and a cloud's is asked with the pod's identity.
    """

    def tcp(*numbers: int) -> list[Object]:
        return [{"port": number, "protocol": "TCP"} for number in numbers]

    def labelled(kind: str, **labels: str) -> Object:
        return {kind: {"matchLabels": labels}}

    dns = [
        labelled("namespaceSelector", **{"kubernetes.io/metadata.name": "kube-system"}),
        {"ipBlock": {"cidr": "169.254.20.10/32"}},  # where each node has a DNS cache of its own
    ]
    callers = [
        {"podSelector": {}},
        labelled("namespaceSelector", **{"edgeline.dev/may-predict": "true"}),
        {  # the component serve asks what it has deployed
            **labelled("namespaceSelector", **{"kubernetes.io/metadata.name": "kubeflow"}),
            **labelled("podSelector", **{"pipelines.kubeflow.org/v2_component": "true"}),
        },
    ]
    hosts, identity = METADATA.get(store, ((), ()))
    addresses = [{"ipBlock": {"cidr": f"{host}/32"}} for host in hosts]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(site),
        "spec": {
            "podSelector": {"matchLabels": chosen},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": callers, "ports": tcp(*ports)}],
            "egress": [
                {"to": dns, "ports": [{"port": 53, "protocol": "UDP"}, *tcp(53)]},
                {"ports": tcp(443, 9000 if store else 5000)},  # the models' store or registry
                *([{"to": addresses, "ports": tcp(*identity)}] if store else []),
                *([{"to": [{"podSelector": {}}], "ports": tcp(*within)}] if within else []),
            ],
        },
    }
