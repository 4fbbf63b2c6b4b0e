"""Objects applied to a cluster, and waited for until they run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    from kubernetes.client import ApiException
    from kubernetes.dynamic import DynamicClient, Resource

MANAGER = "edgeline"
POLL = 2.0  # seconds
Object = Mapping[str, Any]
# what a pod says when waiting longer is in vain
HOPELESS = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CrashLoopBackOff")


def connect() -> DynamicClient:
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


def apply(cluster: DynamicClient, objects: Iterable[Object]) -> None:
    """Apply objects server-side, in their order, as the field manager `edgeline`.

    Fields that another manager owns are taken over: the deployment is what the bundle says.

    Raises:
        EdgelineError: the cluster lacks a kind, or refuses an object.
    """
    for entry in objects:
        with _sentences(entry):
            _resource(cluster, entry).server_side_apply(
                body=entry,
                name=entry["metadata"]["name"],
                namespace=entry["metadata"].get("namespace"),
                field_manager=MANAGER,
                force_conflicts=True,
            )


def wait(
    cluster: DynamicClient, objects: Iterable[Object], limit: float, poll: float = POLL
) -> None:
    """Wait until Deployments have rolled out and InferenceServices are ready.

    Raises:
        EdgelineError: not in `limit` seconds, or a pod says that it never will.
    """
    end = time.monotonic() + limit
    for entry in objects:
        if entry["kind"] not in READY:
            continue
        while True:
            with _sentences(entry):
                if _is_ready(cluster, entry):
                    break
                said = _hopeless(cluster, entry)
            if said or time.monotonic() >= end:
                raise EdgelineError(
                    f"{entry['kind']} {entry['metadata']['name']} is not ready"
                    + (f": {said}" if said else f" after {limit:g} s: see its pods' events.")
                )
            time.sleep(poll)


def _resource(cluster: DynamicClient, entry: Object) -> Resource:
    return cluster.resources.get(api_version=entry["apiVersion"], kind=entry["kind"])


def _is_ready(cluster: DynamicClient, entry: Object) -> bool:
    name, namespace = entry["metadata"]["name"], entry["metadata"]["namespace"]
    found = _resource(cluster, entry).get(name=name, namespace=namespace)
    return READY[entry["kind"]](found.to_dict())


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


def _hopeless(cluster: DynamicClient, entry: Object) -> str:
    """What a pod of it says that will never run; pods of what it replaces are not asked."""
    labels = ",".join(f"{key}={value}" for key, value in entry["metadata"]["labels"].items())
    images = _images(entry["spec"].get("template", {}).get("spec", {}))
    pods = cluster.resources.get(api_version="v1", kind="Pod")
    found = pods.get(namespace=entry["metadata"]["namespace"], label_selector=labels)
    for pod in found.to_dict()["items"]:
        if not images <= _images(pod["spec"]):
            continue
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in HOPELESS:
                said = f"{waiting['reason']} {waiting.get('message', '')}".strip()
                return f"pod {pod['metadata']['name']} says {said}"
    return ""


def _images(spec: Object) -> set[str]:
    return {container["image"] for container in spec.get("containers", [])}


@contextmanager
def _sentences(entry: Object) -> Iterator[None]:
    """The client's errors as one sentence about an object."""
    from kubernetes.client import ApiException
    from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
    from urllib3.exceptions import HTTPError

    kind, name = entry["kind"], entry["metadata"]["name"]
    try:
        yield
    except ResourceNotFoundError as error:
        raise EdgelineError(
            f"The cluster has no {kind} of {entry['apiVersion']}: install what brings it, or "
            "choose another form."
        ) from error
    except (DynamicApiError, ApiException) as error:
        raise EdgelineError(f"The cluster refuses {kind} {name}: {_message(error)}") from error
    except HTTPError as error:
        raise EdgelineError(
            f"The cluster does not answer any more at {kind} {name} ({_first_line(error)}): "
            "run it again."
        ) from error


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (AttributeError, TypeError, ValueError, KeyError):
        return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
