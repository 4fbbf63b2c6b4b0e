"""Workers of a training as pods of an indexed Job, which the task creates, watches and deletes.

A worker's pod is like the task's own: its image, resources, node, volumes, variables and service
account are those of the container that asks. So whatever an environment says of `train` holds for
each worker. What is the task's alone (Argo's and KFP's own parts, the token for the cluster's
API) is left out. The Job belongs to the task's pod and the Service to the Job, so both go with it,
whatever ends it.

TensorFlow cannot go on with another process in the place of a lost one, so the Job has no retries:
with one pod Kubernetes ends all, and the task makes another Job.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.components.train import workers
from edgeline.components.train.jobs import Jobs
from edgeline.components.train.workers import Ended, SharedTraining
from edgeline.errors import EdgelineError
from edgeline.kubeflow import pods

Json = dict[str, Any]
PORT = 2222
LABEL = "edgeline.training"  # of a Job's pods, with the Job's name
QUEUE = "kueue.x-k8s.io/"  # labels by which Kueue admits; of the Job instead of its pods
LEFT_OUT = re.compile(r"ARGO_|KFP_|KUBERNETES_")  # variables of the task's own pod
OWN_VOLUMES = re.compile(r"var-run-argo|tmp-dir-argo|argo-|kfp-|kube-api-access-|istio-")
SHARED_FIELDS = (
    *("affinity", "imagePullSecrets", "nodeSelector", "priorityClassName", "runtimeClassName"),
    *("schedulerName", "securityContext", "serviceAccountName", "tolerations"),
)
LOOK = 2.0  # seconds between two looks
LAST = 5.0  # seconds at most to show what a pod printed last


def start(work: SharedTraining, jobs: Jobs, own: Json, number: int) -> Ended:
    """Make the Job, show what its pods print, and delete it when they have ended.

    Args:
        own: the task's pod, as the API server has it.
        number: how many Jobs this is the task's, from 1.

    Raises:
        EdgelineError: the API server refuses, or does not answer any more.
    """
    job, service = objects(work, own, number)
    name = job["metadata"]["name"]
    with _deleted_in_the_end(jobs, name):
        uid = jobs.create_job(job)
        service["metadata"]["ownerReferences"] = [
            {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}
        ]
        jobs.create_service(service)
        print(f"Job {name}: {work.how.workers} workers.", flush=True)
        logs: dict[str, threading.Thread] = {}
        ended = _watch(jobs, name, work.how.workers, logs)
        for each in logs.values():  # what was printed last, while there are pods to have it from
            each.join(LAST)
        return ended


def objects(work: SharedTraining, own: Json, number: int) -> tuple[Json, Json]:
    """The Job and the headless Service by which its pods find each other.

    Raises:
        EdgelineError: what the workers are told is too large.
    """
    metadata = own["metadata"]
    name = f"edgeline-train-{metadata['uid'][:13]}-{number}"
    count = work.how.workers
    addresses = [f"{name}-{index}.{name}:{PORT}" for index in range(count)]
    labels = {LABEL: name, "app.kubernetes.io/part-of": "edgeline"}
    queue = {k: v for k, v in (metadata.get("labels") or {}).items() if k.startswith(QUEUE)}
    template = {
        # what a mesh would add never ends, and does not let TensorFlow's own protocol through
        "metadata": {"labels": {**labels, "sidecar.istio.io/inject": "false"}},
        "spec": _pod_spec(work, own["spec"], addresses),
    }
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    job: Json = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**labels, **queue},
            "ownerReferences": [owner],
        },
        "spec": {
            "completions": count,
            "parallelism": count,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "template": template,
        },
    }
    if seconds := own["spec"].get("activeDeadlineSeconds"):
        job["spec"]["activeDeadlineSeconds"] = seconds
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": metadata["namespace"], "labels": labels},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {LABEL: name},
            "ports": [{"name": "tcp-workers", "port": PORT}],
        },
    }
    return job, service


def own_pod(jobs: Jobs) -> Json:
    """The pod of this task.

    Raises:
        EdgelineError: the API server does not tell.
    """
    return jobs.pod(os.environ.get("KFP_POD_NAME") or socket.gethostname())


def _is_of_account(volume: Json) -> bool:
    """Whether it has a token of the pod's service account, which a worker has no use for."""
    sources = volume.get("projected", {}).get("sources") or ()
    return any("serviceAccountToken" in each for each in sources)


def _pod_spec(work: SharedTraining, own: Json, addresses: list[str]) -> Json:
    main = next(each for each in own["containers"] if each["name"] == "main")
    volumes = {
        each["name"]: each
        for each in own.get("volumes") or ()
        if not OWN_VOLUMES.match(each["name"]) and not _is_of_account(each)
    }
    variables = [
        each
        for each in main.get("env") or ()
        if not LEFT_OUT.match(each["name"]) and each["name"] != "HOSTNAME"
    ]
    given = workers.environment(work, addresses)
    subdomain = addresses[0].partition(".")[2].partition(":")[0]
    container = {
        "name": "worker",
        "image": main["image"],
        "command": ["python3", "-m", workers.MODULE],
        "env": [*variables, *({"name": k, "value": v} for k, v in given.items())],
        "ports": [{"containerPort": PORT}],
        "volumeMounts": [m for m in main.get("volumeMounts") or () if m["name"] in volumes],
        "securityContext": {
            **(main.get("securityContext") or {}),
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **{k: main[k] for k in ("envFrom", "imagePullPolicy", "resources") if main.get(k)},
    }
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    return {
        **{key: own[key] for key in SHARED_FIELDS if own.get(key)},
        "automountServiceAccountToken": False,  # a worker asks the cluster nothing
        "restartPolicy": "Never",
        "subdomain": subdomain,
        "containers": [container],
        "volumes": [volume for name, volume in volumes.items() if name in mounted],
    }


@dataclass(frozen=True)
class _Pod:
    """What counts of a worker's pod: its `index`, whether it `runs`, its exit `code`, when that was
    and the `message` that it left, and why it `waits`."""

    name: str
    index: int
    runs: bool
    code: int | None
    ended_at: str
    message: str
    waits: str


def _watch(jobs: Jobs, job: str, count: int, logs: dict[str, threading.Thread]) -> Ended:
    """Wait until the first worker is done, or one is lost; threads that show logs are put in."""
    told: dict[int, str] = {}
    while True:
        failed = jobs.failure(job)  # before its pods, which Kubernetes deletes after that
        found = sorted(map(_read, jobs.pods(f"{LABEL}={job}")), key=lambda pod: pod.index)
        for pod in found:
            if pod.name not in logs and (pod.runs or pod.code is not None):
                logs[pod.name] = _shown(jobs, pod)
            if pod.waits and told.get(pod.index) != pod.waits:
                told[pod.index] = pod.waits
                print(f"worker {pod.index} waits: {pod.waits}", flush=True)
        if any(pod.index == 0 and pod.code == 0 for pod in found):
            return Ended(done=True)
        for pod in found:
            if pod.code == workers.REFUSED:
                return Ended(refused=pod.message or f"Worker {pod.index} refused: see its log.")
        lost = [pod for pod in found if pod.code]
        if lost:  # the others end for it
            first = min(lost, key=lambda pod: pod.ended_at)
            how = first.message or f"ended with code {first.code}"
            return Ended(why=f"Worker {first.index} of {count} failed ({how})")
        if failed:
            return Ended(why=f"Job {job} failed ({failed})")
        time.sleep(LOOK)


def _read(pod: Mapping[str, Any]) -> _Pod:
    metadata, status = pod["metadata"], pod.get("status") or {}
    index = int(metadata.get("annotations", {}).get("batch.kubernetes.io/job-completion-index", 0))
    (state, *_) = [each.get("state") or {} for each in status.get("containerStatuses") or ()] or [
        {}
    ]
    ended = state.get("terminated")
    code = None if ended is None else int(ended.get("exitCode", 1))
    message = " ".join(str((ended or {}).get("message") or "").split())
    reason = (ended or {}).get("reason") or ""
    if code is None and status.get("phase") == "Failed":  # of a node that is gone, or evicted
        code, reason = 1, status.get("reason") or "its node is gone"
    why = state.get("waiting") or {}
    scheduled: Mapping[str, Any] = next(
        (x for x in status.get("conditions") or () if x.get("type") == "PodScheduled"), {}
    )
    waits = why.get("message") or why.get("reason") or ""
    if scheduled.get("status") == "False":
        waits = scheduled.get("message") or "no node has room for it"
    return _Pod(
        metadata["name"],
        index,
        "running" in state,
        code,
        str((ended or {}).get("finishedAt") or ""),
        message or ("" if reason in pods.PLAIN else reason),
        "" if waits in ("ContainerCreating", "PodInitializing") else " ".join(waits.split()),
    )


def _shown(jobs: Jobs, pod: _Pod) -> threading.Thread:
    """Print what a pod prints, each line with the worker's number, as long as it runs."""

    def follow() -> None:
        for line in jobs.log(pod.name):
            print(f"worker {pod.index}: {line}", flush=True)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def _deleted_in_the_end(jobs: Jobs, name: str) -> Iterator[None]:
    """Delete a Job and all that is its own, also where this task is cancelled."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, end) if is_main else None
    try:
        yield
    finally:
        try:
            jobs.delete(name, f"{LABEL}={name}")
        except EdgelineError as error:  # what ended it says more, and a training is not lost for it
            print(f"Job {name} is left: {error}", flush=True)
        finally:
            if is_main:
                signal.signal(signal.SIGTERM, before)
