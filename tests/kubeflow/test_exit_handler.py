"""What `notify` tells in a pod: on recorded runs, with pods in Kubernetes' form (no real ones)."""

from __future__ import annotations

import copy
import http.server
import json
import lzma
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_server import RECORDED, RecordedServer
from test_recorded_runs import tasks_in

from edgeline.components.notify import truth
from edgeline.components.notify.notify import notify
from edgeline.errors import EdgelineError
from edgeline.kubeflow import face, pods

RUNS: dict[str, Any] = json.loads(lzma.decompress((RECORDED / "runs.json.xz").read_bytes()))


class Pods(http.server.ThreadingHTTPServer):
    """A Kubernetes API that lists pods; `status` is what it answers with."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pods: list[Any] = []
        self.status = 200
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, node: str, phase: str = "Failed", **terminated: Any) -> None:
        containers = [
            {"name": "wait", "state": {"terminated": {"exitCode": 1, "message": "of the sidecar"}}},
            {"name": "main", "state": {"terminated": {"exitCode": 1, **terminated}}},
        ]
        if phase != "Failed":
            containers[1] = {"name": "main", "state": {"terminated": {"exitCode": 0}}}
        self.pods.append(
            {
                "metadata": {"annotations": {pods.NODE: node}},
                "status": {"phase": phase, "containerStatuses": containers},
            }
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Pods

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        content = json.dumps({"kind": "PodList", "items": self.server.pods}).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kubernetes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pods]:
    from kubernetes import client

    server = Pods()
    settings = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(pods, "own_cluster", lambda: client.ApiClient(settings))
    (tmp_path / "namespace").write_text("team-a\n")
    monkeypatch.setattr(pods, "NAMESPACE", tmp_path / "namespace")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(truth.time, "sleep", lambda _: None)
    yield server
    server.shutdown()
    server.server_close()


def specification(run: Any, *more: str) -> Any:
    """A pipeline with the tasks that a run had, in the server's form."""
    names = [*tasks_in(run), *more]
    last = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    tasks = {
        name: {
            "componentRef": {"name": f"comp-{name}"},
            **({"triggerPolicy": last} if name == "notify" else {}),
        }
        for name in names
    }
    tasks["exit-handler-1"] = {"componentRef": {"name": "comp-exit-handler-1"}}
    components = {f"comp-{name}": {"executorLabel": f"exec-{name}"} for name in names}
    components["comp-exit-handler-1"] = {"dag": {"tasks": {}}}
    return {"root": {"dag": {"tasks": tasks}}, "components": components}


def tell(
    server: RecordedServer,
    name: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *more: str,
    state: str = "RUNNING",
) -> dict[str, Any]:
    """The outcome that is told while the exit handler of a recorded run is running."""
    run = RUNS[name]
    version = run["pipeline_version_reference"]
    key = f"pipelines/{version['pipeline_id']}/versions/{version['pipeline_version_id']}"
    server.answer(f"GET runs/{run['run_id']}", run)
    server.answer(f"GET {key}", {**version, "pipeline_spec": specification(run, *more)})
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.address)
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kfp.example.com/")
    store = folder / "store" / "taxi" / run["run_id"]
    notify(
        outcome_path=folder / "disk" / "outcome",
        outcome_uri=f"{store}/notify/57c0713a-ebbc-4dae-9004-e591a42cb6f1/outcome",
        state=state,
        task="exit-handler-1",
        pipeline_name="taxi",
        run_id=run["run_id"],
    )
    told: dict[str, Any] = json.loads((folder / "disk" / "outcome" / "outcome.json").read_text())
    return told


def test_it_asks_in_a_task_s_process_too(recorded: RecordedServer, tmp_path: Path) -> None:
    """kfp leaves its client out there."""
    run = copy.deepcopy(RUNS["failed-at-train"])
    run["state"] = "RUNNING"  # as the server has it by then, else it is asked again and again
    for node in run["run_details"]["task_details"]:
        if node.get("display_name", "").removesuffix("(0)") == "notify":
            node["state"] = "RUNNING"
    version = run["pipeline_version_reference"]
    key = f"pipelines/{version['pipeline_id']}/versions/{version['pipeline_version_id']}"
    recorded.answer(f"GET runs/{run['run_id']}", run)
    recorded.answer(f"GET {key}", {**version, "pipeline_spec": specification(run)})
    uri = f"{tmp_path}/{run['run_id']}/notify/57c0713a-ebbc-4dae-9004-e591a42cb6f1/outcome"
    outcome = {"name": "outcome", "type": {"schemaTitle": "system.Artifact"}, "uri": uri}
    given = {
        "inputs": {
            "parameterValues": {
                "pipeline_name": "taxi",
                "run_id": run["run_id"],
                "status": {"state": "RUNNING", "error": {}},
            }
        },
        "outputs": {
            "artifacts": {"outcome": {"artifacts": [outcome]}},
            "outputFile": f"{tmp_path}/output.json",
        },
    }
    digest = face.digest(face.source("notify") or "")
    words = ["-m", "edgeline.kubeflow.task", f"{face.DIGEST}{digest}", face.FUNCTION, "notify"]
    place = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KF_PIPELINES_ENDPOINT": recorded.address}
    done = subprocess.run(
        [sys.executable, *words, "--executor_input", json.dumps(given)],
        capture_output=True,
        text=True,
        env={**os.environ, **place},
    )
    assert done.returncode == 0, done.stdout
    told = json.loads((Path(uri) / "outcome.json").read_text())
    assert (told["state"], told["task"]) == ("FAILED", "train")


def test_it_does_not_fail_for_a_reason_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> truth.Truth:
        raise AttributeError("half imported")

    monkeypatch.setattr("edgeline.components.notify.notify.find_out", broken)
    notify(outcome_path=tmp_path / "outcome", state="FAILED", pipeline_name="taxi", run_id="7")
    assert "cannot be found out: AttributeError: half imported" in capsys.readouterr().out
    assert json.loads((tmp_path / "outcome" / "outcome.json").read_text())["state"] == "FAILED"


def put(folder: Path, name: str, task: str, file: str, content: Any) -> None:
    path = folder / "store" / "taxi" / RUNS[name]["run_id"] / task / "0b3e" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_a_run_with_a_loop_over_nothing_succeeded_and_says_what_it_published(
    recorded: RecordedServer, kubernetes: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KFP's own word is RUNNING in exit-handler-1."""
    name = "succeeded-from-cache"
    bundle = {"edgeline_schema": "bundle/v1", "metadata": {"uri": "s3://models/taxi/3"}}
    put(tmp_path, name, "publish", "bundle/artifact.json", bundle)
    put(tmp_path, name, "publish", "bundle/other.json", {})
    told = tell(recorded, name, tmp_path, monkeypatch)
    key = RUNS[name]["run_id"]
    assert told["text"] == f"Pipeline taxi ({key}): SUCCEEDED: published s3://models/taxi/3"
    assert told["page"] == f"https://kfp.example.com/#/runs/details/{key}"
    assert kubernetes.asked == []  # nothing failed


@pytest.mark.parametrize("name", ["empty-loop--PENDING-RUNNING", "no-loop--PENDING-RUNNING"])
def test_running_is_not_told_of_runs_that_succeeded(
    name: str,
    recorded: RecordedServer,
    kubernetes: Pods,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = tell(recorded, name, tmp_path, monkeypatch)
    assert (told["state"], told["task"], told["error"]) == ("SUCCEEDED", "", "")
    assert kubernetes.asked == []


def test_a_refused_model_is_told_with_its_reasons(
    recorded: RecordedServer, kubernetes: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "no-loop--PENDING-RUNNING"
    verdict = {"blessed": False, "failures": ["auc 0.5 is below 0.9"]}
    put(tmp_path, name, "analyze", "evaluation/validation.json", verdict)
    told = tell(recorded, name, tmp_path, monkeypatch, "publish")
    assert told["text"].endswith("SUCCEEDED: refused by analyze: auc 0.5 is below 0.9")
    assert kubernetes.asked == []


@pytest.mark.usefixtures("kubernetes")
def test_of_candidates_is_told_why_none_goes_on_and_nothing_where_one_does(
    recorded: RecordedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "no-loop--PENDING-RUNNING"
    verdict = {"blessed": False, "failures": ["auc 0.5 is below 0.9"]}
    put(tmp_path, name, "train-candidate", "candidate/evaluation/validation.json", verdict)
    poor = {"name": "small", "state": "not approved", "reasons": ["auc 0.5 is below 0.9"]}
    metadata = {"chosen": "wide", "candidates": [poor]}
    choice = {"edgeline_schema": "choice/v1", "metadata": metadata, "files": {}}
    put(tmp_path, name, "choose", "choice/artifact.json", choice)
    assert "refused" not in tell(recorded, name, tmp_path, monkeypatch, "publish")["text"]
    metadata["chosen"] = ""
    put(tmp_path, name, "choose", "choice/artifact.json", choice)
    told = tell(recorded, name, tmp_path, monkeypatch, "publish")["text"]
    assert told.endswith("SUCCEEDED: refused by choose: small: auc 0.5 is below 0.9")


def test_a_failure_is_told_with_the_task_and_what_its_pod_left(
    recorded: RecordedServer, kubernetes: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "failing-component-with-retries--PENDING-RUNNING"
    above = "bad-qx22x(0).root(0).exit-handler-1(0)"
    kubernetes.add(f"{above}.validate(0).executor(0)", message="made good by another attempt")
    kubernetes.add(f"{above}.validate(0).executor(1)", phase="Succeeded")
    kubernetes.add(f"{above}.ingest(0).executor(0)", message="row 7 has no fare:\n add it.")
    told = tell(recorded, name, tmp_path, monkeypatch, state="FAILED")
    assert told["text"].endswith("FAILED in ingest: row 7 has no fare: add it.")
    run = RUNS[name]["run_id"]
    assert kubernetes.asked == [
        f"/api/v1/namespaces/team-a/pods?labelSelector=pipeline%2Frunid%3D{run}"
    ]


@pytest.mark.parametrize(
    ("node", "terminated", "said"),
    [
        ("ingest-driver(0)", {"message": "no such version"}, "in ingest: no such version"),
        ("ingest(0).executor(0)", {"reason": "OOMKilled"}, "its container was ended: OOMKilled"),
        ("ingest(0).executor(0)", {"reason": "Error"}, "why is not known here: see https://kfp."),
    ],
)
def test_a_pod_that_left_no_message_is_told_as_far_as_it_goes(
    node: str,
    terminated: dict[str, str],
    said: str,
    recorded: RecordedServer,
    kubernetes: Pods,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kubernetes.add(f"bad-qx22x(0).root(0).{node}", **terminated)
    name = "failing-component-with-retries--PENDING-RUNNING"
    assert said in tell(recorded, name, tmp_path, monkeypatch)["text"]


def test_where_pods_may_not_be_listed_the_task_is_told_with_the_page(
    recorded: RecordedServer, kubernetes: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubernetes.status = 403
    name = "failing-component-with-retries--PENDING-RUNNING"
    told = tell(recorded, name, tmp_path, monkeypatch, state="FAILED")
    page = f"https://kfp.example.com/#/runs/details/{RUNS[name]['run_id']}"
    assert told["text"].endswith(f"FAILED in ingest: why is not known here: see {page}")
    with pytest.raises(EdgelineError, match=r"may not be listed here \(403\)"):
        pods.failures(pods.own_cluster(), "team-a", "x")


def test_where_the_api_may_not_be_asked_pods_and_artifacts_tell(
    recorded: RecordedServer, kubernetes: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "failed-at-train"
    recorded.answer("GET healthz", {"multi_user": True})  # a profile without a token
    kubernetes.add("taxi(0).root(0).train(0).executor(0)", message="out of data")
    told = tell(recorded, name, tmp_path, monkeypatch)
    assert told["text"].endswith("FAILED in train: out of data")


def test_an_attempt_that_another_one_made_good_is_no_failure(
    recorded: RecordedServer, kubernetes: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.answer("GET healthz", {"multi_user": True})  # only the pods can be asked
    train = "taxi(0).root(0).train(0)"
    kubernetes.add(f"{train}.executor(0)", message="evicted")
    kubernetes.add(f"{train}.executor(1)", phase="Succeeded")
    told = tell(recorded, "failed-at-train", tmp_path, monkeypatch, state="COMPLETE")
    assert (told["state"], told["task"], told["error"]) == ("SUCCEEDED", "", "")
    kubernetes.add("taxi(0).root(0).verify(0).executor(0)", message="evicted")
    told = tell(recorded, "failed-at-train", tmp_path, monkeypatch, state="COMPLETE")
    assert (told["state"], told["task"], told["error"]) == ("FAILED", "verify", "evicted")


def test_where_nothing_can_be_asked_it_is_not_known(
    recorded: RecordedServer, kubernetes: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "succeeded-from-cache"
    kubernetes.status = 403
    recorded.answer("GET healthz", {"code": 7, "message": "no"}, 403)
    told = tell(recorded, name, tmp_path, monkeypatch)
    page = f"https://kfp.example.com/#/runs/details/{RUNS[name]['run_id']}"
    assert told["text"].endswith(f"how it ended is not known here: see {page}")
    assert told["state"] == "UNKNOWN"
    told = tell(recorded, name, tmp_path, monkeypatch, state="COMPLETE")
    assert told["state"] == "SUCCEEDED"


def test_tasks_that_the_server_stopped_reading_are_not_known(
    recorded: RecordedServer, kubernetes: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "taxi-cloned--PENDING-RUNNING"
    told = tell(recorded, name, tmp_path, monkeypatch, "publish", "notify")
    assert told["state"] == "UNKNOWN"
    bundle = {"edgeline_schema": "bundle/v1", "metadata": {"uri": "s3://models/taxi/3"}}
    put(tmp_path, name, "publish", "bundle/artifact.json", bundle)
    told = tell(recorded, name, tmp_path, monkeypatch, "publish", "notify")
    assert "not known here; published s3://models/taxi/3: see https" in told["text"]
    assert kubernetes.asked == []


def test_a_terminated_run_is_cancelled(
    recorded: RecordedServer, kubernetes: Pods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "taxi-terminated--PENDING-RUNNING-CANCELING"
    told = tell(recorded, name, tmp_path, monkeypatch)
    assert told["state"] == "CANCELED"
    assert kubernetes.status == 200
