"""Waiting until what was applied runs, with what its controllers say meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeline.components.serve.cluster import (
    MANAGER,
    ClusterObject,
    found,
    sentences,
)
from edgeline.errors import EdgelineError
from edgeline.sites.kserve import OF_KSERVE, SCHEME, STORAGE, predictor
from edgeline.sites.site import MODEL, SERVER, SPEC

if TYPE_CHECKING:
    from kubernetes.dynamic import DynamicClient

WORKLOADS = ("Deployment", "InferenceService")
OURS = (MODEL, SERVER, SPEC)  # annotations by which what was applied is told from what was there
POLL = 2.0  # seconds
# what a controller may still get over (a conflict, a quota while old pods end) and mostly does not
PATIENCE = 30.0  # seconds
# what a pod says when waiting longer is in vain
HOPELESS = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CrashLoopBackOff")
# and when something is to be done for it, such as making a Secret
BLOCKED_STARTS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
# of an InferenceService's conditions, failures and events: no later reconciliation changes it
FINAL = ("ServerlessModeRejected", "InvalidPredictorSpec", "NoSupportingRuntime")
BLOCKED = ("BlockedByFailedLoad", "InvalidSpec")  # what KServe calls the transition then
NO_STORAGE = (
    f"the cluster has no ClusterStorageContainer {STORAGE}: apply "
    "manifests/base/kserve/storage-container.yaml"
)
CONFLICT = "the object has been modified"  # two writers met; a controller tries again at once
SETTLED = 5.0  # seconds in which a controller has taken back what it said of what was there before


@dataclass(frozen=True)
class Said:
    """What a pod or a controller says of what is waited for.

    Attributes:
        patience: seconds for which it may go on saying so; infinite where that says nothing.
    """

    text: str
    patience: float = float("inf")


def wait(
    cluster: DynamicClient, objects: Iterable[ClusterObject], limit: float, poll: float = POLL
) -> None:
    """Wait until Deployments have rolled out and InferenceServices have, and are ready.

    What their conditions, pods and events say is printed when it is first said.

    Raises:
        EdgelineError: not in `limit` seconds, a pod or controller says that it never will, or
            somebody has put another model there.
    """
    end = time.monotonic() + limit
    for entry in objects:
        if entry["kind"] in WORKLOADS:
            _wait(cluster, entry, end, limit, poll)


def _wait(
    cluster: DynamicClient, entry: ClusterObject, end: float, limit: float, poll: float
) -> None:
    what = f"{entry['kind']} {entry['metadata']['name']}"
    since: dict[str, float] = {}
    while True:
        with sentences(entry):
            state = found(cluster, entry)
            _check_ours(entry, state)
            deployment = _deployment(cluster, entry, state)
            if _is_ready(entry, state, deployment):
                return
            lines = map(_in_a_line, _said(cluster, entry, state, deployment))
            said = list({each.text: each for each in lines}.values())
        now = time.monotonic()
        since = {each.text: since.get(each.text, now) for each in said}
        for each in said:
            if since[each.text] == now:
                print(f"{what}: {each.text}")
            if now - since[each.text] >= each.patience:
                raise EdgelineError(f"{what} is not ready: {each.text}")
        if now >= end:
            last = f": {said[0].text}" if said else ": see its pods' events."
            raise EdgelineError(f"{what} is not ready after {max(0, round(limit))} s{last}")
        time.sleep(poll)


def _in_a_line(said: Said) -> Said:
    return Said(" ".join(said.text.split()), said.patience)


def _check_ours(entry: ClusterObject, state: ClusterObject) -> None:
    there = state["metadata"].get("annotations") or {}
    asked = entry["metadata"]["annotations"]
    what = next((key for key in OURS if there.get(key) != asked.get(key)), "")
    if what:
        name = what.partition("/")[2]
        raise EdgelineError(
            f"{entry['kind']} {entry['metadata']['name']} has another {name} by now, "
            f"{there.get(what)}: somebody else has deployed meanwhile."
        )


def _deployment(
    cluster: DynamicClient, entry: ClusterObject, state: ClusterObject
) -> ClusterObject | None:
    """The Deployment that runs it; None while KServe has made none."""
    from kubernetes.dynamic.exceptions import NotFoundError

    if entry["kind"] == "Deployment":
        return state
    metadata = {**entry["metadata"], "name": predictor(entry["metadata"]["name"])}
    try:
        return found(cluster, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata})
    except NotFoundError:
        return None


def _is_ready(entry: ClusterObject, state: ClusterObject, deployment: ClusterObject | None) -> bool:
    """Whether the pods are those of what was applied, and answer.

    Ready of an InferenceService stays true while it rolls out, so its Deployment is asked as well,
    and whether KServe has written model, server and the rest into it yet.
    """
    if deployment is None or not _rolled_out(deployment):
        return False
    if entry["kind"] == "Deployment":
        return True
    ready = any(each["type"] == "Ready" for each in _conditions(state, "True"))
    return ready and _is_of(entry, deployment["spec"]["template"])


def _rolled_out(deployment: ClusterObject) -> bool:
    """As `kubectl rollout status` judges it."""
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    new, all_ = status.get("updatedReplicas", 0), status.get("replicas", 0)
    there = status.get("availableReplicas", 0)
    return bool(_seen(deployment) and new >= wanted == all_ and there >= wanted)


def _seen(deployment: ClusterObject) -> bool:
    """Whether its controller has seen what it is told."""
    seen = (deployment.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= deployment["metadata"]["generation"])


def _conditions(state: ClusterObject, status: str) -> Iterator[Mapping[str, Any]]:
    for condition in (state.get("status") or {}).get("conditions") or []:
        if condition.get("status") == status:
            yield condition


def _said(
    cluster: DynamicClient,
    entry: ClusterObject,
    state: ClusterObject,
    deployment: ClusterObject | None,
) -> Iterator[Said]:
    """What is said of it, what is nearest to the cause first."""
    pods = list(_pods(cluster, entry))
    yield from _by_pods(pods)
    if deployment is not None and _is_of(entry, deployment["spec"]["template"]):
        yield from _by_deployment(deployment)
    if entry["kind"] == "InferenceService":
        yield from _by_kserve(state, pods)
        yield from _of_the_volume(entry, pods)
    yield from _by_events(cluster, entry, state, deployment, pods)


def _pods(cluster: DynamicClient, entry: ClusterObject) -> Iterator[ClusterObject]:
    """Its pods, but for those of what it replaces."""
    metadata = entry["metadata"]
    chosen = metadata["labels"]
    if entry["kind"] == "InferenceService":
        chosen = {OF_KSERVE: metadata["name"]}
    pods = cluster.resources.get(api_version="v1", kind="Pod")
    labels = ",".join(f"{key}={value}" for key, value in chosen.items())
    listed = pods.get(namespace=metadata["namespace"], label_selector=labels)
    for pod in listed.to_dict()["items"]:
        if _is_of(entry, pod):
            yield pod


def _by_pods(pods: Iterable[ClusterObject]) -> Iterator[Said]:
    for pod in pods:
        for container in _containers(pod):
            waiting = (container.get("state") or {}).get("waiting") or {}
            reason = waiting.get("reason")
            if reason in (*HOPELESS, *BLOCKED_STARTS):
                said = f"{reason} {waiting.get('message', '')}".strip()
                text = f"pod {pod['metadata']['name']} says {said}{_last_words(container)}"
                yield Said(text, 0 if reason in HOPELESS else PATIENCE)
        for condition in _conditions(pod, "False"):
            if condition["type"] == "PodScheduled":
                yield Said(f"pod {pod['metadata']['name']} waits: {condition.get('message', '')}")


def _containers(pod: ClusterObject) -> Iterator[ClusterObject]:
    """The statuses of a pod's containers."""
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(kind) or []


def _last_words(container: ClusterObject) -> str:
    """The last line that it wrote before it ended: the server's sentence; or why it was ended."""
    ended = (container.get("lastState") or {}).get("terminated") or {}
    words = _lines(ended.get("message"))
    if not words and ended.get("reason") not in (None, "", "Error", "Completed"):
        words = [str(ended["reason"])]  # OOMKilled leaves no time for a word
    return f": {words[-1]}" if words else ""


def _lines(message: object) -> list[str]:
    return str(message or "").strip().splitlines()


def _by_deployment(deployment: ClusterObject) -> Iterator[Said]:
    if not _seen(deployment):
        return  # what it says is of the pods before
    for condition in _conditions(deployment, "True"):
        if condition["type"] == "ReplicaFailure":  # a quota, PodSecurity, a webhook
            yield Said(f"{condition.get('reason')}: {condition.get('message')}", PATIENCE)
    for condition in _conditions(deployment, "False"):
        if condition.get("reason") == "ProgressDeadlineExceeded":
            yield Said(f"{condition['reason']}: {condition.get('message')}", PATIENCE)


def _by_kserve(state: ClusterObject, pods: Iterable[ClusterObject]) -> Iterator[Said]:
    model = (state.get("status") or {}).get("modelStatus") or {}
    failure = model.get("lastFailureInfo") or {}
    reason, message = failure.get("reason", "KServe"), failure.get("message")
    # KServe keeps a failure that is over, and takes "failed to load" from any pod, from one that
    # is being replaced as well
    ours = reason != "ModelLoadFailed" or message in _endings(pods)
    if message and ours and model.get("transitionStatus") in BLOCKED:
        last = _lines(message)[-1:]  # after a program's usage, or a traceback
        yield Said(f"{reason}: {''.join(last)}", SETTLED if reason in FINAL else PATIENCE)
    for condition in _conditions(state, "False"):
        reason, message = condition.get("reason", ""), condition.get("message", "")
        if not message or CONFLICT in message:
            continue
        patience = SETTLED if reason in FINAL else PATIENCE if "Failed" in reason else float("inf")
        yield Said(f"{reason or condition['type']}: {message}", patience)


def _endings(pods: Iterable[ClusterObject]) -> set[str]:
    """What containers wrote before they ended."""
    return {
        str((container.get(which) or {}).get("terminated", {}).get("message"))
        for pod in pods
        for container in _containers(pod)
        for which in ("state", "lastState")
    }


def _of_the_volume(entry: ClusterObject, pods: Iterable[ClusterObject]) -> Iterator[Said]:
    """KServe's webhook gives its pods an image volume, unless its configuration turns images off,
    and an API server without the feature gate drops it and takes the rest."""
    uri = entry["spec"]["predictor"].get("model", {}).get("storageUri", "")
    if not uri.startswith("oci+native://"):
        return
    for pod in pods:
        if not any("image" in volume for volume in pod["spec"].get("volumes") or ()):
            text = (
                f"pod {pod['metadata']['name']} has no image volume: turn the feature gate "
                "ImageVolume on in API server and kubelet, and enableModelcar in KServe's "
                "configuration, or `edgeline site render --for kserve --model-from store` "
                "(or modelcar)"
            )
            yield Said(text, 0)


def _is_of(entry: ClusterObject, other: Mapping[str, Any]) -> bool:
    """Whether an object, pods of it or a template of them are of what was applied."""
    asked = entry["metadata"].get("annotations") or {}
    there = other["metadata"].get("annotations") or {}
    return all(there.get(key) == asked.get(key) for key in OURS)


def _by_events(
    cluster: DynamicClient,
    entry: ClusterObject,
    state: ClusterObject,
    deployment: ClusterObject | None,
    pods: Iterable[ClusterObject],
) -> Iterator[Said]:
    """Warnings since the apply about it, its Deployment and its pods.

    KServe says no more than an event of an address that it does not support, or of Knative's mode
    where there is no Knative. An error of an event may have passed; as long as there is no
    Deployment of this model, it does not.
    """
    kind, name = entry["kind"], entry["metadata"]["name"]
    about = {(kind, name), *(("Pod", pod["metadata"]["name"]) for pod in pods)}
    if deployment is not None:
        about.add(("Deployment", deployment["metadata"]["name"]))
    stuck = deployment is None or not _is_of(entry, deployment["spec"]["template"])
    events = cluster.resources.get(api_version="v1", kind="Event")
    listed = events.get(namespace=entry["metadata"]["namespace"], field_selector="type=Warning")
    began = _applied(state)
    for event in listed.to_dict()["items"]:
        of, reason = event["involvedObject"], event.get("reason")
        at = event.get("lastTimestamp") or event.get("eventTime") or ""
        message = str(event.get("message"))
        if (of.get("kind"), of.get("name")) not in about or at < began or CONFLICT in message:
            continue
        if SCHEME in message and "not supported" in message:
            message += f" ({NO_STORAGE})"
        whose = "" if of["kind"] == kind else f"{of['kind'].lower()} {of['name']}: "
        patience = float("inf")
        if stuck and of["kind"] == kind and reason in (*FINAL, "InternalError"):
            patience = SETTLED if reason in FINAL else PATIENCE
        yield Said(f"{whose}{reason}: {message}", patience)


def _applied(state: ClusterObject) -> str:
    """When it was last changed by us, as the API server's clock says: RFC 3339 in UTC."""
    times = [
        each.get("time") or ""
        for each in state["metadata"].get("managedFields") or []
        if each.get("manager") == MANAGER
    ]
    return max(times, default="")
