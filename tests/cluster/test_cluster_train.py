"""train's workers in a cluster, against a real API server: what it may, what is admitted, deleted.

There is no controller and no kubelet: where a test says `status_set_by_the_test`, it makes itself
the pods that Kubernetes would make of the Job, and says how they fare.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import ApiServer

from edgeline.components.train import cluster_workers, workers
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.jobs import Jobs
from edgeline.components.train.workers import SharedTraining
from edgeline.errors import EdgelineError

MANIFESTS = Path(__file__).parents[2] / "manifests"
IN = ("-n", "kubeflow")
Object = dict[str, Any]
WORK = SharedTraining(
    module="s3://bucket/module.zip",
    transformed="s3://bucket/transformed",
    digest="0" * 64,
    hyperparameters={},
    how=Fitting("y", 100, workers=2),
    class_weights=None,
    checkpoint_dir="s3://bucket/checkpoints",
    key="k",
)
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
NAME = "taxi-x7k2p-system-container-impl-1"
# what KFP and Argo make of a task of an environment with a volume, a key and a place of its own
TASK = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": NAME,
        "namespace": "kubeflow",
        "labels": {"kueue.x-k8s.io/queue-name": "team", "pipeline/runid": "r"},
    },
    "spec": {
        "serviceAccountName": "pipeline-runner",
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 86400,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
        "nodeSelector": {"pool": "training"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "volumes": [
            {"name": "var-run-argo", "emptyDir": {}},
            {"name": "edgeline-mnt-work", "persistentVolumeClaim": {"claimName": "work"}},
        ],
        "containers": [
            {"name": "wait", "image": "argoexec", "securityContext": RESTRICTED},
            {
                "name": "main",
                "image": "registry.example/train-python@sha256:" + "0" * 64,
                "command": ["/var/run/argo/argoexec", "emissary", "--", "python3"],
                "env": [
                    {"name": "ARGO_CONTAINER_NAME", "value": "main"},
                    {"name": "KFP_POD_NAME", "value": "taxi"},
                    {"name": "AWS_REGION", "value": "eu-central-1"},
                    {
                        "name": "AWS_SECRET_ACCESS_KEY",
                        "valueFrom": {"secretKeyRef": {"name": "store", "key": "secret"}},
                    },
                ],
                "resources": {
                    "requests": {"cpu": "2"},
                    "limits": {"memory": "16Gi", "nvidia.com/gpu": "1"},
                },
                "volumeMounts": [
                    {"name": "var-run-argo", "mountPath": "/var/run/argo"},
                    {"name": "edgeline-mnt-work", "mountPath": "/mnt/work"},
                ],
                "securityContext": RESTRICTED,
            },
        ],
    },
}


@pytest.fixture(scope="module")
def account(api_server: ApiServer) -> Callable[[str], Jobs]:
    """The API as a service account of kubeflow may ask it, after our manifests were applied."""
    from kubernetes import config

    name = {"name": "pipeline-runner", "namespace": "kubeflow"}  # KFP brings it
    given = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}
    api_server.kubectl("apply", "--server-side", "-f", "-", given=given)
    api_server.kubectl("apply", "--server-side", "-k", MANIFESTS / "base" / "pipelines")

    def jobs(account: str) -> Jobs:
        content = yaml.load(api_server.kubeconfig.read_text(), yaml.CSafeLoader)
        token = api_server.kubectl("create", "token", account, *IN).strip()
        content["users"][0]["user"] = {"token": token}
        return Jobs(config.new_client_from_config_dict(content), "kubeflow")

    return jobs


@pytest.fixture
def jobs(account: Callable[[str], Jobs], api_server: ApiServer) -> Iterator[Jobs]:
    yield account("pipeline-runner")
    api_server.kubectl("delete", "jobs,services,pods", "-l", cluster_workers.LABEL, *IN)
    api_server.kubectl("delete", "pod", "--ignore-not-found", NAME, *IN)


@pytest.fixture
def own(jobs: Jobs, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Object:
    """The task's pod, as the task reads it."""
    api_server.kubectl("create", "-f", "-", given=TASK)
    monkeypatch.setenv("KFP_POD_NAME", NAME)
    return cluster_workers.own_pod(jobs)


def listed(api_server: ApiServer, kind: str) -> list[Object]:
    found: list[Object] = json.loads(api_server.kubectl("get", kind, *IN, "-o", "json"))["items"]
    return found


def test_a_worker_is_like_the_task_but_for_what_is_the_tasks_alone(
    own: Object, jobs: Jobs, api_server: ApiServer
) -> None:
    job, service = cluster_workers.objects(WORK, own, 1)
    uid = jobs.create_job(job)
    service["metadata"]["ownerReferences"] = [
        {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": uid}
    ]
    jobs.create_service(service)
    (found,) = listed(api_server, "jobs")
    assert found["metadata"]["ownerReferences"][0]["uid"] == own["metadata"]["uid"]
    assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    spec = found["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert spec["backoffLimit"] == 0 and spec["activeDeadlineSeconds"] == 86400
    (pod,) = made(found, [0])
    api_server.kubectl("create", "--dry-run=server", "-f", "-", given=pod)  # level restricted
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    for field in ("nodeSelector", "serviceAccountName", "tolerations"):
        assert spec[field] == own["spec"][field]
    (container,) = spec["containers"]
    main = own["spec"]["containers"][1]
    assert container["image"] == main["image"] and container["resources"] == main["resources"]
    assert [each["mountPath"] for each in container["volumeMounts"]] == ["/mnt/work"]
    assert [each["name"] for each in spec["volumes"]] == ["edgeline-mnt-work"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert {*variables} == {
        *("AWS_REGION", "AWS_SECRET_ACCESS_KEY", workers.WORK, workers.ADDRESSES)
    }
    name = job["metadata"]["name"]
    assert variables[workers.ADDRESSES] == f"{name}-0.{name}:2222,{name}-1.{name}:2222"
    assert SharedTraining.from_json(str(variables[workers.WORK])) == WORK
    (service,) = listed(api_server, "services")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert spec["subdomain"] == service["metadata"]["name"]


def made(job: Object, indexes: list[int]) -> list[Object]:
    """The pods that the Job's controller would make."""
    found = []
    for index in indexes:
        template = copy.deepcopy(job["spec"]["template"])
        name = job["metadata"]["name"]
        metadata = template["metadata"]
        metadata |= {"name": f"{name}-{index}-abcde", "namespace": "kubeflow"}
        metadata["annotations"] = {"batch.kubernetes.io/job-completion-index": str(index)}
        template["spec"]["hostname"] = f"{name}-{index}"
        found.append({"apiVersion": "v1", "kind": "Pod", **template})
    return found


class Kubernetes(threading.Thread):
    """Makes the pods of the first Job that comes, and says how they fare, one after the other."""

    def __init__(self, api_server: ApiServer, *fares: tuple[int, Object]) -> None:
        super().__init__(daemon=True)
        self.api_server, self.fares = api_server, fares
        self.job: Object = {}

    def run(self) -> None:
        while not (found := listed(self.api_server, "jobs")):
            pass
        self.job = found[0]
        pods = made(self.job, [0, 1])
        self.api_server.kubectl("create", "-f", "-", given=pods)
        for index, state in self.fares:
            phase = "Running" if "running" in state else "Failed"
            if state.get("terminated", {}).get("exitCode") == 0:
                phase = "Succeeded"
            status = {"name": "worker", "image": "i", "imageID": "", "ready": False}
            status |= {"restartCount": 0, "state": state}
            patch = {"status": {"phase": phase, "containerStatuses": [status]}}
            name = pods[index]["metadata"]["name"]
            command = ("patch", "pod", name, *IN, "--subresource=status", "--type=merge")
            self.api_server.kubectl(*command, "-p", json.dumps(patch))


RUNNING: Object = {"running": {}}


def ended(code: int, **told: str) -> Object:
    return {"terminated": {"exitCode": code, **told}}


@pytest.fixture
def start(
    own: Object, jobs: Jobs, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    monkeypatch.setattr(cluster_workers, "LOOK", 0.1)
    monkeypatch.setattr("edgeline.components.train.jobs.LOOK", 0.1)

    def work(*fares: tuple[int, Object]) -> Any:
        kubernetes = Kubernetes(api_server, *fares)
        kubernetes.start()
        found = cluster_workers.start(WORK, jobs, own, 1)
        kubernetes.join()
        assert listed(api_server, "jobs") == []
        return found

    return work


def test_workers_are_watched_to_the_end_status_set_by_the_test(
    start: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """There is no kubelet either to have a log from."""
    monkeypatch.setattr(Jobs, "log", lambda _, pod: iter([f"epoch 1, says {pod[-7:]}"]))
    found = start((1, ended(0)), (0, RUNNING), (0, ended(0)))
    assert found.done
    said = capfd.readouterr().out.splitlines()
    assert said[0].endswith(": 2 workers.")
    assert {"worker 0: epoch 1, says 0-abcde", "worker 1: epoch 1, says 1-abcde"} == {*said[1:]}


@pytest.mark.parametrize(
    ("code", "told", "refused", "why"),
    [
        (workers.REFUSED, {"message": "The label is constant."}, "The label is constant.", ""),
        (137, {"reason": "OOMKilled"}, "", "Worker 1 of 2 failed (OOMKilled)"),
        (1, {"reason": "Error"}, "", "Worker 1 of 2 failed (ended with code 1)"),
    ],
)
def test_how_a_worker_failed_is_told_status_set_by_the_test(
    code: int, told: dict[str, str], refused: str, why: str, start: Callable[..., Any]
) -> None:
    found = start((0, RUNNING), (1, ended(code, **told)), (0, ended(143)))
    assert not found.done
    assert found.refused == refused
    assert not why or found.why in (why, "Worker 0 of 2 failed (ended with code 143)")


def test_a_cancelled_task_deletes_its_job_status_set_by_the_test(
    own: Object, jobs: Jobs, api_server: ApiServer
) -> None:
    """Its pods go with it, which is the garbage collector's to do; here there is none."""

    def cancel() -> None:
        while not listed(api_server, "jobs"):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=cancel, daemon=True).start()
    with pytest.raises(SystemExit) as told:
        cluster_workers.start(WORK, jobs, own, 1)
    assert told.value.code == 128 + signal.SIGTERM
    assert listed(api_server, "jobs") == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_the_rights_it_is_said_what_brings_them(
    account: Callable[[str], Jobs], own: Object
) -> None:
    with pytest.raises(EdgelineError, match=r"may not create the Job .*: apply manifests/base/pip"):
        cluster_workers.start(WORK, account("default"), own, 1)
