"""Objects applied to a cluster, and waited for until they run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError

MANAGER = "edgeline"
POLL = 2.0  # seconds
Object = Mapping[str, Any]
# what a pod says when waiting longer is in vain
HOPELESS = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CrashLoopBackOff")


def connect() -> Any:
    """A dynamic client: of the cluster that this runs in, else of the kubeconfig.

    Raises:
        EdgelineError: there is neither, or the API server does not answer.
    """
    from kubernetes import client, config, dynamic
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    try:
        if Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists():
            config.load_incluster_config()
        else:
            config.load_kube_config()
        return dynamic.DynamicClient(client.ApiClient())
    except (ConfigException, HTTPError, client.ApiException) as error:
        raise EdgelineError(
            f"No cluster can be reached ({_first_line(error)}): run this in one, or set KUBECONFIG."
        ) from error


def apply(cluster: Any, objects: Iterable[Object]) -> None:
    """Apply objects server-side, in their order, as the field manager `edgeline`.

    Fields that another manager owns are taken over: the deployment is what the bundle says.

    Raises:
        EdgelineError: the cluster lacks a kind, or refuses an object.
    """
    from kubernetes.client import ApiException
    from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError

    for entry in objects:
        kind, name = entry["kind"], entry["metadata"]["name"]
        try:
            resource = cluster.resources.get(api_version=entry["apiVersion"], kind=kind)
            resource.server_side_apply(
                body=entry,
                name=name,
                namespace=entry["metadata"].get("namespace"),
                field_manager=MANAGER,
                force_conflicts=True,
            )
        except ResourceNotFoundError as error:
            raise EdgelineError(
                f"The cluster has no {kind} of {entry['apiVersion']}: install what brings it, or "
                "choose another form."
            ) from error
        except (DynamicApiError, ApiException) as error:
            raise EdgelineError(f"The cluster refuses {kind} {name}: {_message(error)}") from error


def wait(cluster: Any, objects: Iterable[Object], limit: float, poll: float = POLL) -> None:
    """Wait until Deployments have rolled out and InferenceServices are ready.

    Raises:
        EdgelineError: not in `limit` seconds, or a pod says that it never will.
    """
    end = time.monotonic() + limit
    for entry in objects:
        ready = READY.get(entry["kind"])
        if ready is None:
            continue
        resource = cluster.resources.get(api_version=entry["apiVersion"], kind=entry["kind"])
        name, namespace = entry["metadata"]["name"], entry["metadata"]["namespace"]
        while not ready(resource.get(name=name, namespace=namespace).to_dict()):
            said = _hopeless(cluster, namespace, name)
            if said or time.monotonic() >= end:
                raise EdgelineError(
                    f"{entry['kind']} {name} is not ready"
                    + (f": {said}" if said else f" after {limit:g} s: see its pods' events.")
                )
            time.sleep(poll)


def _deployed(found: Object) -> bool:
    """As `kubectl rollout status` judges it."""
    status, wanted = found.get("status") or {}, found["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    new, all_ = status.get("updatedReplicas", 0), status.get("replicas", 0)
    return bool(seen and new >= wanted == all_ and status.get("availableReplicas", 0) >= wanted)


def _conditioned(found: Object) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


READY = {"Deployment": _deployed, "InferenceService": _conditioned}


def _hopeless(cluster: Any, namespace: str, name: str) -> str:
    pods = cluster.resources.get(api_version="v1", kind="Pod")
    found = pods.get(namespace=namespace, label_selector=f"app.kubernetes.io/name={name}")
    for pod in found.to_dict()["items"]:
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in HOPELESS:
                said = f"{waiting['reason']} {waiting.get('message', '')}".strip()
                return f"pod {pod['metadata']['name']} says {said}"
    return ""


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (AttributeError, TypeError, ValueError, KeyError):
        return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
