"""Which KServe a cluster has: what it takes differs from version to version.

Its manager's image says it where that may be read. KServe says it nowhere else; but each version
that takes something new has a field for it in the schema of InferenceService, which whoever may log
in may read. Source: config/crd of KServe 0.14 to 0.20.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeline.components.serve.cluster import found, sentences
from edgeline.errors import EdgelineError
from edgeline.sites import kserve

if TYPE_CHECKING:
    from kubernetes.dynamic import DynamicClient

MANAGER = "kserve-controller-manager"
NAMESPACES = ("kserve", "kubeflow")  # where KServe's own manifests have it, and Kubeflow's
SCHEMAS = "/openapi/v3/apis/serving.kserve.io/v1beta1"
INFERENCE_SERVICE = "io.kserve.serving.v1beta1.InferenceService"
# fields of a predictor, and since when they are there, the newest first
FIELDS = {"storageContainerName": "0.20", "storageUris": "0.16", "autoScaling": "0.15"}
_TAG = re.compile(r":(v?0\.[0-9]+(?:\.[0-9]+)?)[^:/]*$")  # of an image without its digest


def kserve_version(cluster: DynamicClient, given: str = "") -> str:
    """The version that a cluster's KServe has, or one that takes the same; "" where nothing says
    it.

    Args:
        given: what somebody says that it is, or "".

    Raises:
        EdgelineError: there is no KServe, it is too old, or another than `given` and takes
            something else.
    """
    with sentences({"kind": "Deployment", "metadata": {"name": MANAGER}}):
        there = _of_manager(cluster) or _by_schema(cluster)
    if not there:
        print(f"Nothing says which KServe the cluster has: {given or kserve.NEWEST} is assumed.")
        return given
    try:
        known = kserve.read_version(there)
    except EdgelineError:
        raise EdgelineError(
            f"The cluster has KServe {there}, which is too old for what edgeline writes: it needs "
            f"{'.'.join(map(str, kserve.OLDEST))} or later; or choose another form."
        ) from None
    if given and kserve.form_version(known) != kserve.form_version(kserve.read_version(given)):
        raise EdgelineError(
            f"The cluster has KServe {there}{_or_later(known, there)}, not {given}, which takes "
            "something else: leave the version out."
        )
    return there


def _or_later(known: kserve.Version, there: str) -> str:
    """Of what the schema says, which names the first version that has a field; else ""."""
    later = known < kserve.WITH_IMAGES and there in FIELDS.values()
    return " or a later one that takes the same" if later else ""


def _of_manager(cluster: DynamicClient) -> str:
    """By the image of its manager; "" where that may not be read or has no version."""
    from kubernetes.client import ApiException

    for namespace in NAMESPACES:
        metadata = {"name": MANAGER, "namespace": namespace}
        try:
            manager = found(
                cluster, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
            )
        except ApiException:
            continue
        for container in manager["spec"]["template"]["spec"]["containers"]:
            tag = _TAG.search(container.get("image", "").partition("@")[0])
            if container["name"] == "manager" and tag:
                return tag[1]
    return ""


def _by_schema(cluster: DynamicClient) -> str:
    """By the newest field that is known; "" where the definitions are KServe's minimal ones, which
    have no fields."""
    from kubernetes.client import ApiException
    from kubernetes.dynamic.exceptions import NotFoundError

    try:
        answer = cluster.request("get", SCHEMAS, serialize=False)
    except NotFoundError as error:
        raise EdgelineError(
            "The cluster has no InferenceService: install KServe, or choose another form."
        ) from error
    except ApiException:
        return ""
    fields = _predictor(json.loads(answer.data))
    if not fields:
        return ""
    return next((version for field, version in FIELDS.items() if field in fields), "0.14")


def _predictor(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = document.get("components", {}).get("schemas", {}).get(INFERENCE_SERVICE, {})
    for part in ("spec", "predictor"):
        found = found.get("properties", {}).get(part, {})
    fields: Mapping[str, Any] = found.get("properties", {})
    return fields
