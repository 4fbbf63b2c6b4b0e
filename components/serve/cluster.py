"""Objects applied to a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeline.errors import EdgelineError
from edgeline.sites.site import PART_OF

if TYPE_CHECKING:
    from kubernetes.client import ApiException
    from kubernetes.dynamic import DynamicClient, Resource

MANAGER = "edgeline"
ClusterObject = Mapping[str, Any]


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


def apply(cluster: DynamicClient, objects: Iterable[ClusterObject], adopt: bool = False) -> None:
    """Apply objects server-side, in their order, as the field manager `edgeline`.

    Fields that another manager owns are taken over: the deployment is what the bundle says.

    Args:
        adopt: whether what somebody else has made is replaced as well.

    Raises:
        EdgelineError: the cluster lacks a kind, refuses an object, or has one of that name that
            somebody else has made; then nothing is applied.
    """
    objects = list(objects)
    handed_over = []
    for entry in objects:
        with sentences(entry):
            if version := _foreign_version(cluster, entry, adopt):
                handed_over.append((entry, version))
    for entry, version in handed_over:
        # a merge would leave what the other has set, such as arguments, beside what the bundle says
        body = {**entry, "metadata": {**entry["metadata"], "resourceVersion": version}}
        with sentences(entry):
            _resource(cluster, entry).replace(body=body, field_manager=MANAGER)
    for entry in objects:
        with sentences(entry):
            _resource(cluster, entry).server_side_apply(
                body=entry,
                name=entry["metadata"]["name"],
                namespace=entry["metadata"].get("namespace"),
                field_manager=MANAGER,
                force_conflicts=True,
            )


def found(cluster: DynamicClient, entry: ClusterObject) -> Mapping[str, Any]:
    """An object as the cluster has it.

    Raises:
        NotFoundError: of kubernetes.dynamic: it has none.
    """
    name, namespace = entry["metadata"]["name"], entry["metadata"].get("namespace")
    state = _resource(cluster, entry).get(name=name, namespace=namespace)
    read: Mapping[str, Any] = state.to_dict()
    return read


def _foreign_version(cluster: DynamicClient, entry: ClusterObject, adopt: bool) -> str:
    """The resourceVersion of what somebody else has made and handed over; "" where nothing is to be
    replaced.

    Raises:
        EdgelineError: it is somebody else's, has no label that says it is ours, and is not to be
            adopted.
    """
    from kubernetes.dynamic.exceptions import NotFoundError

    try:
        metadata = found(cluster, entry)["metadata"]
    except NotFoundError:
        return ""
    if any(each.get("manager") == MANAGER for each in metadata.get("managedFields") or ()):
        return ""
    kind, name = entry["kind"], metadata["name"]
    ((key, value),) = PART_OF.items()
    if not adopt and (metadata.get("labels") or {}).get(key) != value:
        raise EdgelineError(
            f"{kind} {name} is there, and somebody else has made it: give another name, or hand it "
            f"over with `kubectl label {kind.lower()} {name} -n {metadata['namespace']} "
            f"{key}={value}` (`edgeline site apply` takes --adopt)."
        )
    return str(metadata["resourceVersion"])


def _resource(cluster: DynamicClient, entry: ClusterObject) -> Resource:
    return cluster.resources.get(api_version=entry["apiVersion"], kind=entry["kind"])


@contextmanager
def sentences(entry: ClusterObject) -> Iterator[None]:
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
