"""Runs as a real server told them, and the conversations with it, all of them (recorded/)."""

from __future__ import annotations

import io
import json
import lzma
import re
from collections.abc import Iterator
from typing import Any

import pytest
from recorded_server import RECORDED, RecordedServer, conversation, conversations
from rich.console import Console

from edgeline.client import remote
from edgeline.client.remote import RemoteRun
from edgeline.errors import EdgelineError
from edgeline.kubeflow.api import asking, connect
from edgeline.kubeflow.run_tasks import run_state
from edgeline.local.plan import PlannedTask

pytestmark = pytest.mark.slow

RUNS: dict[str, Any] = json.loads(lzma.decompress((RECORDED / "runs.json.xz").read_bytes()))
GROUPS = re.compile(
    r"(root|executor|exit-handler-\d+(\.onExit)?|condition-(branches-)?\d+|for-loop-\d+"
    r"|iteration(-item|-iterations)?|.*-driver|.*\(\d.*\)|[\w-]+-[a-z0-9]{5})"
)
SPEED = ("ingest", "validate", "transform", "train", "analyze", "convert", "verify")


def tasks_in(run: Any) -> list[str]:
    """The names of a run's tasks, as far as it tells them, without groups and Argo's nodes."""
    details = (run.get("run_details") or {}).get("task_details", ())
    names = {node.get("display_name", "") for node in details}
    drivers = {name.removesuffix("-driver") for name in names if name.endswith("-driver")}
    return sorted(name for name in drivers & names if not GROUPS.fullmatch(name))


def remote_run(server: RecordedServer, run: Any, *more: str) -> tuple[RemoteRun, io.StringIO]:
    server.answer(f"GET runs/{run['run_id']}", run)
    planned = [PlannedTask(name, name, ()) for name in dict.fromkeys((*tasks_in(run), *more))]
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    client = connect(server.address)
    return RemoteRun(client, run["run_id"], "taxi", planned, "", console, poll=0.0), shown


@pytest.fixture
def server() -> Iterator[RecordedServer]:
    running = RecordedServer()
    yield running
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize("name", RUNS)
def test_every_recorded_run_is_told_as_it_was(name: str, server: RecordedServer) -> None:
    told = RUNS[name]
    run, _ = remote_run(server, told, "never-begun")
    ended = told["state"] in ("SUCCEEDED", "FAILED")
    canceled = any(entry.get("state") == "CANCELING" for entry in told["state_history"])
    expected = "canceled" if canceled and ended else told["state"].lower()
    assert run.state == ("running" if expected == "canceling" else expected)
    assert len(run.tasks) == len(tasks_in(told)) + 1  # each once, though the server has two nodes
    states = {task.state for task in run.tasks.values()}
    assert all(0 <= task.seconds < 3600 for task in run.tasks.values())
    if ended:
        assert states.isdisjoint({"waiting", "running"})
    else:
        assert "unknown" not in states
        assert run.tasks["never-begun"].state == "waiting"


def states_of(server: RecordedServer, name: str, *more: str) -> dict[str, str]:
    run, _ = remote_run(server, RUNS[name], *more)
    return {name: task.state for name, task in run.tasks.items()}


def test_what_follows_a_failure_is_left_out(server: RecordedServer) -> None:
    done = ("ingest", "validate", "transform", "notify")
    assert states_of(server, "failed-at-train", "convert", "publish") == {
        **dict.fromkeys(done, "succeeded"),
        "train": "failed",
        **dict.fromkeys(("analyze", "convert", "publish"), "skipped"),
    }


def test_what_was_taken_from_the_cache_says_so(server: RecordedServer) -> None:
    assert states_of(server, "succeeded-from-cache") == {
        **dict.fromkeys(SPEED, "cached"),
        "model-card": "succeeded",
        "publish": "succeeded",
        "notify": "running",
    }


def test_a_task_whose_driver_failed_has_failed(server: RecordedServer) -> None:
    found = states_of(server, "pretrained-float--PENDING-RUNNING-FAILED")
    assert [name for name, state in found.items() if state == "failed"] == ["model-card-3"]
    found = states_of(server, "collected-over-an-empty-loop--PENDING-RUNNING-FAILED", "made")
    assert found == {"gather": "failed", "made": "skipped"}


def test_a_task_in_a_loop_is_told_once(server: RecordedServer) -> None:
    found = states_of(server, "loop-over-two--PENDING-RUNNING-SUCCEEDED")
    assert found == dict.fromkeys(("ingest", "validate", "validate-2", "notify"), "succeeded")


def test_a_retried_run_is_running_again(server: RecordedServer) -> None:
    found = states_of(server, "taxi-from-the-form-and-retried--PENDING-RUNNING-FAILED-RUNNING")
    assert found["publish"] == "running"
    assert found["ingest"] == "cached"


def test_frozen_tasks_are_not_known_and_the_run_s_own_state_is_right(
    server: RecordedServer,
) -> None:
    run, shown = remote_run(server, RUNS["succeeded-tasks-frozen"], "publish", "notify")
    assert run.wait().state == "succeeded"
    states = {name: task.state for name, task in run.tasks.items()}
    assert states == {
        **dict.fromkeys(SPEED, "succeeded"),
        **dict.fromkeys(("model-card", "publish", "notify"), "unknown"),
    }
    said = " ".join(shown.getvalue().split())
    assert "ended is not known: the server stopped reading the tasks" in said
    assert "The run itself is told: succeeded." in said
    run, _ = remote_run(server, RUNS["two-publishes-in-a-loop--PENDING-RUNNING-FAILED"], "publish")
    assert run.tasks["publish"].state == "unknown"
    with pytest.raises(EdgelineError, match=r"^Run \S+ failed: see its logs at "):
        run.wait()


def test_a_cancelled_run_is_cancelled_and_did_not_fail(server: RecordedServer) -> None:
    run, _ = remote_run(server, RUNS["taxi-terminated--PENDING-RUNNING-CANCELING-FAILED"])
    with pytest.raises(EdgelineError, match=r"^Run \S+ was cancelled: see http"):
        run.wait()
    assert run.state == "canceled"
    assert run.tasks["ingest"].state == "canceled"
    assert run.tasks["train"].state == "skipped"
    assert ": canceled</div>" in run._repr_html_()
    ending, _ = remote_run(server, RUNS["taxi-terminated--PENDING-RUNNING-CANCELING"])
    assert ending.state == "running"


def test_what_a_termination_ended_before_it_began_is_cancelled(server: RecordedServer) -> None:
    """Its driver is what was ended."""
    name = "tabular-terminated-in-a-driver--PENDING-RUNNING-CANCELING-FAILED"
    found = states_of(server, name)
    assert found["transform"] == "canceled"
    assert "failed" not in found.values()


def test_tasks_with_a_condition_of_their_own_are_told(server: RecordedServer) -> None:
    """Compiling merges a group with one task into what is around it."""
    name = "taxi-with-merged-conditions--PENDING-RUNNING-SUCCEEDED"
    found = states_of(server, name, "publish-2", "serve")
    cached = dict.fromkeys(("ingest", "validate", "transform"), "cached")
    done = ("settings", "train", "analyze", "convert", "verify", "publish", "model-card", "notify")
    assert found == {
        **cached,
        **dict.fromkeys(done, "succeeded"),
        **dict.fromkeys(("publish-2", "serve"), "skipped"),
    }


def test_a_loop_with_a_round_that_is_refused_is_told_once(server: RecordedServer) -> None:
    """Of two targets one was not approved, so it was not published."""
    name = "pretrained-with-two-targets--PENDING-RUNNING-SUCCEEDED"
    found = states_of(server, name, "import-model")
    done = ("settings", "ingest", "convert", "check-2", "verify-5", "publish-5", "compile-3")
    assert {task: found[task] for task in done} == dict.fromkeys(done, "succeeded")
    assert found["import-model"] == "cached"
    rounds = {task: found[task] for task in ("verify-6", "publish-6", "model-card-6")}
    assert rounds == dict.fromkeys(rounds, "succeeded")
    assert "failed" not in found.values()


def test_of_a_model_that_is_refused_what_follows_is_left_out(server: RecordedServer) -> None:
    name = "digits-refused-by-analyze--PENDING-RUNNING-SUCCEEDED"
    found = states_of(server, name, "convert", "compile", "publish")
    assert found["analyze"] == found["notify"] == "succeeded"
    assert found["convert"] == found["compile"] == found["publish"] == "skipped"


def test_each_target_is_compiled_verified_and_published(server: RecordedServer) -> None:
    """ethos-u55, tflite-micro and onnx, each in the image that has its compiler and runtime."""
    found = states_of(server, "digits-with-three-targets--PENDING-RUNNING-SUCCEEDED")
    done = ("compile", "verify-3", "publish-4", "model-card-2", "notify")
    assert {task: found[task] for task in done} == dict.fromkeys(done, "succeeded")
    assert "failed" not in found.values()


def test_tasks_are_told_where_argo_writes_each_node_once(server: RecordedServer) -> None:
    """With `manifests/components/small-workflows`."""
    name = "pretrained-with-each-node-once--PENDING-RUNNING-SUCCEEDED"
    nodes = RUNS[name]["run_details"]["task_details"]
    assert not any(node.get("display_name") == "ingest(0)" for node in nodes)
    tasks = ("ingest", "convert", "check-2", "verify-5", "publish-5", "model-card-5", "notify")
    found = states_of(server, name, *tasks, "verify", "publish-6")
    assert found["verify"] == found["publish-6"] == "skipped"
    assert {task: found[task] for task in tasks} == dict.fromkeys(tasks, "succeeded")


WAITS = {
    "run-taxi-wait": "Task train failed",
    "run-taxi-fourth-wait-patched-nulls": "Task model-card failed",
    "run-taxi-fifth-wait": "",
    "run-taxi-sixth-without-cache": "",
}


def looks(name: str) -> dict[str, list[Any]]:
    """What was said of each run in a conversation, in order."""
    found: dict[str, list[Any]] = {}
    for exchange in conversations()[name]:
        if match := re.fullmatch(r"GET /apis/v2beta1/runs/([0-9a-f-]{36})", exchange["request"]):
            found.setdefault(match[1], []).append((exchange["status"], exchange["answer"]))
    return found


@pytest.mark.parametrize("name", WAITS)
def test_recorded_waits_end_as_the_runs_did(name: str, server: RecordedServer) -> None:
    for key, answers in looks(name).items():
        last = answers[-1][1]
        if last["state"] not in ("SUCCEEDED", "FAILED"):
            continue
        run, shown = remote_run(server, last)
        server.replayed[f"GET /apis/v2beta1/runs/{key} []"] = list(answers)
        if last["state"] == "SUCCEEDED":
            assert run.wait().state == "succeeded"
        else:
            with pytest.raises(EdgelineError, match=WAITS[name] or " failed: "):
                run.wait()
        lines = [line.split()[1] for line in shown.getvalue().splitlines() if line[:1] in "✔✘"]
        assert len(lines) == len(set(lines))  # each task ends once
        left_out = [line for line in shown.getvalue().splitlines() if "not run" in line]
        assert all(re.search(r"not run: [\w-]+ failed$", line) for line in left_out)
        assert not left_out or last["state"] == "FAILED"


def test_the_last_task_is_told_where_the_run_is_said_to_have_ended_before_it(
    server: RecordedServer,
) -> None:
    """The server writes down the run's state first: `notify` was missing in what was shown."""
    ended = RUNS["no-loop--PENDING-RUNNING-SUCCEEDED"]
    early = json.loads(json.dumps(ended))
    for node in early["run_details"]["task_details"]:
        if node.get("display_name") == "notify":
            node["state"] = "RUNNING"
    run, shown = remote_run(server, ended)
    server.replayed[f"GET /apis/v2beta1/runs/{run.id} []"] = [(200, early), (200, ended)]
    assert run.wait().state == "succeeded"
    assert "✔ notify" in shown.getvalue()


@pytest.mark.parametrize("fault", [502, 503, 500, "refused"])
def test_waiting_outlives_minutes_without_a_server(
    fault: int | str, server: RecordedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes of a rollout, on a clock of the test's own."""
    run, shown = remote_run(server, RUNS["no-loop--PENDING-RUNNING"])
    now = [0.0]
    pauses: list[float] = []
    configuration = run.server.runs.api_client.configuration
    address = configuration.host

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds
        if now[0] > 600:  # it is back, and the run has ended
            configuration.host = address
            ended = RUNS["no-loop--PENDING-RUNNING-SUCCEEDED"]
            server.answer(f"GET runs/{run.id}", ended)

    monkeypatch.setattr(remote.time, "sleep", sleep)
    monkeypatch.setattr(remote.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)
    run.poll = 5.0
    if fault == "refused":
        configuration.host = "http://127.0.0.1:9"
    else:
        server.answer(f"GET runs/{run.id}", {"code": 14, "message": "not ready"}, int(fault))
    assert run.wait().state == "succeeded"
    assert max(pauses) == remote.PAUSE  # it backs off
    said = shown.getvalue()
    assert said.count("The run goes on; asking again for 30 minutes.") == 1
    assert "The server answers again." in said


def test_a_server_that_stays_away_ends_the_wait_and_not_the_run(
    server: RecordedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = remote_run(server, RUNS["no-loop--PENDING-RUNNING"])
    now = [0.0]
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(remote.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)
    run.poll = 5.0
    server.answer(f"GET runs/{run.id}", {"code": 14, "message": "not ready"}, 503)
    with pytest.raises(EdgelineError, match=rf"not ready.* Run {run.id} goes on: look at http"):
        run.wait()
    server.answer(f"GET runs/{run.id}", {"code": 7, "message": "no"}, 403)
    with pytest.raises(EdgelineError, match=rf"\(403\): no.* Run {run.id} goes on"):
        run.wait()


def test_ctrl_c_says_that_the_run_goes_on_and_where(
    server: RecordedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, shown = remote_run(server, RUNS["no-loop--PENDING-RUNNING"])

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(remote.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert f"Run {run.id} goes on: look at {run.page}; it can be ended" in shown.getvalue()


def test_cancelling_twice_is_no_error(server: RecordedServer) -> None:
    """As it was recorded: the server refuses the second time."""
    exchanges = conversation("python-client-wait-cancel-twice")
    (refused,) = [x for x in exchanges if x["status"] == 400]
    ending = next(x["answer"] for x in exchanges if x["answer"].get("state") == "CANCELING")
    run, _ = remote_run(server, ending)
    server.answer(f"POST runs/{run.id}:terminate", refused["answer"], refused["status"])
    run.cancel()
    assert run.state == "running"


@pytest.mark.parametrize("name", conversations())
def test_everything_that_was_told_of_runs_is_read(name: str, server: RecordedServer) -> None:
    """Every answer of every conversation: runs are told, refusals are one sentence."""
    client = connect(server.address)
    seen = set()
    for exchange in conversations()[name]:
        answer = exchange["answer"]
        if exchange["status"] >= 400 and isinstance(answer, dict):
            server.answer("GET runs/1", answer, exchange["status"])
            with pytest.raises(EdgelineError, match=r"^The server refuses \(\d+\): [^\n]+$"):
                asking(lambda: client.get_run("1"))
            continue
        entries = [answer, *(answer.get("runs") or ())] if isinstance(answer, dict) else []
        for entry in entries:
            key = entry.get("run_id"), entry.get("state"), len(entry.get("state_history", ()))
            if key not in seen and "run_id" in entry and "state_history" in entry:
                seen.add(key)
                run, _ = remote_run(server, entry)
                known = run_state(asking(lambda key=run.id: client.get_run(key)))
                assert known in ("running", "succeeded", "failed", "skipped", "canceled")
                assert all(task.state for task in run.tasks.values())
