"""Client and schedules on what real API servers of KFP were recorded to answer.

See recorded/README.md; what was not recorded is tried on KFP's API as documented, in the files
beside this one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_server import RecordedServer, exchanges, message
from rich.console import Console

from edgeline.client.remote import RemoteRun
from edgeline.errors import EdgelineError
from edgeline.kubeflow.api import asking, connect
from edgeline.kubeflow.run_tasks import ServerTask, tasks_of
from edgeline.local.plan import PlannedTask
from edgeline.schedules.declaration import read
from edgeline.schedules.reconcile import differences

CLONE = "21e803c5-cf57-4d9d-91fe-84f07130ca11"
SCHEDULED = "46ef0cb0-38eb-46c1-ac64-c28571f90cc3"
PINNED = "recurringruns/befd8ab3-76ab-40dd-a33f-36550860051c"
MARK = "[edgeline schedules of recorded]"
# what the recorder asked the server for before it answered
AS_ASKED = """
owner: recorded
shortest_interval: 30
schedules:
  - name: PR14478 E2E pinned schedule
    pipeline: main
    version: main-1
    experiment: PR14478 E2E September 25
    every: 30
    max_concurrency: 1
    catchup: false
    enabled: false
    parameters: {score: 0.99}
"""
DAILY = """
owner: recorded
schedules:
  - name: Daily Data Processing
    description: Scheduled pipeline for daily data processing tasks
    pipeline: Production Data Processing Pipeline
    version: v1.0.0 Production Data Processing Pipeline
    experiment: Production Data Processing Experiment
    every: 86400
    start: 2024-01-01T13:00:00+01:00
    catchup: true
    service_account: sa3
"""


@pytest.fixture
def server() -> Iterator[RecordedServer]:
    running = RecordedServer()
    yield running
    running.shutdown()
    running.server_close()


def run_of(server: RecordedServer, key: str, *tasks: str) -> tuple[RemoteRun, io.StringIO]:
    planned = [PlannedTask(name, name, ()) for name in tasks]
    shown = io.StringIO()
    console = Console(file=shown, width=100)
    run = RemoteRun(connect(server.address), key, "main", planned, "", console, poll=0.0)
    return run, shown


def changes(server: RecordedServer, folder: Path, text: str, recurring: Any) -> list[Any]:
    """What differs between a file and one recurring run on the server."""
    server.answer("GET recurringruns", {"recurringRuns": [recurring], "total_size": 1})
    path = folder / "schedules.yaml"
    path.write_text(text)
    return list(differences(connect(server.address), read(str(path))))


@pytest.fixture
def daily(server: RecordedServer) -> Any:
    """A recurring run, and lists of the pipeline and the version that it names."""
    pipeline = message("pipeline")
    server.answer("GET pipelines", {"pipelines": [pipeline]})
    versions = {"pipeline_versions": [message("pipeline_version")]}
    server.answer(f"GET pipelines/{pipeline['pipeline_id']}/versions", versions)
    return message("recurring_run")


@pytest.fixture
def pinned(server: RecordedServer) -> Any:
    """A recurring run that a real server gave back; what it names was recorded by its ids alone."""
    (recurring,) = [
        each["answer"] for each in exchanges() if each["request"].endswith(f"/{PINNED}")
    ]
    reference, experiment = recurring["pipeline_version_reference"], recurring["experiment_id"]
    pipeline = reference["pipeline_id"]
    server.answer("GET pipelines", {"pipelines": [{"pipeline_id": pipeline}]})
    server.answer(f"GET pipelines/{pipeline}/versions", {"pipeline_versions": [reference]})
    name = {"experiment_id": experiment, "display_name": "PR14478 E2E September 25"}
    server.answer(f"GET experiments/{experiment}", name)
    return recurring


def test_what_a_server_made_of_a_schedule_is_no_drift(
    server: RecordedServer, pinned: Any, tmp_path: Path
) -> None:
    """Its account, 64-bit numbers as texts and fields left out are the server's own."""
    assert changes(server, tmp_path, AS_ASKED, {**pinned, "description": MARK}) == []


@pytest.mark.parametrize(
    ("edit", "action", "was"),
    [
        (("    every: 30", "    every: 60"), "change", {"every": 30}),
        (("0.99", "0.98"), "change", {"parameters": {"score": 0.99}}),
        (("catchup: false", "catchup: true"), "change", {"catchup": False}),
        (("enabled: false", "enabled: true"), "switch", {"enabled": False}),
    ],
)
def test_one_edit_of_the_file_is_one_difference(
    edit: tuple[str, str],
    action: str,
    was: dict[str, Any],
    server: RecordedServer,
    pinned: Any,
    tmp_path: Path,
) -> None:
    edited = AS_ASKED.replace(*edit)
    (change,) = changes(server, tmp_path, edited, {**pinned, "description": MARK})
    assert (change.action, change.was) == (action, was)


def test_a_schedule_made_by_hand_is_left_alone(
    server: RecordedServer, pinned: Any, tmp_path: Path
) -> None:
    (change,) = changes(server, tmp_path, AS_ASKED, pinned)
    assert (change.action, change.ids) == ("create", ())


def test_a_message_with_all_its_empty_fields_is_compared_field_by_field(
    server: RecordedServer, daily: Any, tmp_path: Path
) -> None:
    marked = {**daily, "description": f"{daily['description']} {MARK}"}
    (change,) = changes(server, tmp_path, DAILY, marked)
    assert (change.action, change.ids) == ("change", ("recurring-run-789",))
    assert change.was == {
        "experiment": "",  # it names none
        "max_concurrency": 0,
        "parameters": {"batch_size": 500, "processing_date": "${system.date}"},
    }


def test_parameters_that_the_recorded_version_has_not_are_refused(
    server: RecordedServer, daily: Any, tmp_path: Path
) -> None:
    said = "parameter batch_size: the pipeline has no such parameter"
    with pytest.raises(EdgelineError, match=said):
        changes(server, tmp_path, DAILY + "    parameters: {batch_size: 500}\n", daily)


def test_tasks_that_a_server_tells_beside_the_run_are_shown(server: RecordedServer) -> None:
    """KFP 3's way; the recorder kept some fields of each answer."""
    run, shown = run_of(server, SCHEDULED, "echo", "report", "publish")
    assert run.wait().state == "succeeded"
    states = {name: task.state for name, task in run.tasks.items()}
    assert states == {"echo": "cached", "report": "succeeded", "publish": "skipped"}
    assert all(name in shown.getvalue() for name in ("echo", "report"))
    clone, _ = run_of(server, CLONE, "echo", "report")
    assert {task.state for task in clone.tasks.values()} == {"cached"}


def test_a_task_told_beside_the_run_is_read_with_its_reason(server: RecordedServer) -> None:
    good = message("pipeline_task")
    bad = {
        **good,
        "name": "second",
        "display_name": "second",
        "state": "FAILED",
        "end_time": "2024-01-01T12:00:09Z",
        "status_metadata": {"message": "out of memory"},
    }
    server.answer(f"GET runs/{CLONE}/tasks", {"tasks": [good], "next_page_token": "2"})
    server.answer(f"GET runs/{CLONE}/tasks?2", {"tasks": [bad]})
    client, names = connect(server.address), ("trainer-task", "Trainer Task", "second", "third")
    assert tasks_of(client, client.get_run(CLONE), names) == {
        "trainer-task": ServerTask("succeeded"),  # under both of its names, and without a reason
        "Trainer Task": ServerTask("succeeded"),
        "third": ServerTask("skipped"),
        "second": ServerTask("failed", 9.0, "out of memory"),
    }
    server.answer(f"GET runs/{CLONE}/tasks?2", {"code": 13}, 500)
    assert tasks_of(client, client.get_run(CLONE), names) == {}  # not half of them


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "text",
        {"tasks": [None]},
        {"tasks": "text"},
        {"tasks": [{"name": ["a"]}]},
        {"tasks": [{"name": "a", "state": {}}]},
        {"tasks": [{"name": "a", "state": "FAILED", "status_metadata": "text"}]},
        {"tasks": [{"name": "a", "create_time": "2026-01-01", "end_time": "2026-01-01T00:00Z"}]},
        {"tasks": [{"name": "a", "create_time": "yesterday"}]},
    ],
)
def test_tasks_in_no_form_of_kfp_are_one_sentence(server: RecordedServer, answer: Any) -> None:
    server.answer(f"GET runs/{CLONE}/tasks", answer)
    run, _ = run_of(server, CLONE, "echo")
    for ask in (lambda: run.tasks, run.wait, run._repr_html_):
        with pytest.raises(EdgelineError, match=r"^The server[^\n]*$"):
            ask()


def test_fields_that_are_null_or_missing_are_as_if_not_told(server: RecordedServer) -> None:
    task = {"name": "echo", "display_name": None, "state": None, "status_metadata": None}
    server.answer(f"GET runs/{CLONE}/tasks", {"tasks": [{}, task], "next_page_token": None})
    run, _ = run_of(server, CLONE, "echo")
    assert run.tasks["echo"].state == "waiting"


def test_pages_of_tasks_without_end_are_not_turned_for_ever(server: RecordedServer) -> None:
    page = {"tasks": [message("pipeline_task")], "next_page_token": "2"}
    for key in ("tasks", "tasks?2"):
        server.answer(f"GET runs/{CLONE}/{key}", page)
    run, _ = run_of(server, CLONE, "echo")
    assert run.tasks["echo"].state == "unknown"


def test_a_run_of_which_nothing_is_told_is_one_sentence(server: RecordedServer) -> None:
    server.answer("GET runs/1", None)
    run, _ = run_of(server, "1", "echo")
    with pytest.raises(EdgelineError, match=r"^The server tells nothing of run 1: "):
        run.wait()
    details = {"task_details": [None]}
    server.answer("GET runs/1", {"run_id": "1", "state": "SUCCEEDED", "run_details": details})
    with pytest.raises(EdgelineError, match=r"^The server answers otherwise than KFP does "):
        run.wait()


def test_a_failed_run_is_told_with_the_server_s_own_words(server: RecordedServer) -> None:
    server.answer("GET runs/failed-run-456", message("run_failed"))
    run, _ = run_of(server, "failed-run-456", "train")
    with pytest.raises(
        EdgelineError, match=r"^Run failed-run-456 failed: This was a Failed Run\.$"
    ):
        run.wait()


def test_of_tasks_that_a_server_does_not_tell_nothing_is_claimed(server: RecordedServer) -> None:
    server.answer("GET runs/completed-run-123", message("run_completed"))
    run, shown = run_of(server, "completed-run-123", "train")
    assert run.wait().state == "succeeded"
    assert run.tasks["train"].state == "unknown"
    assert "not run" not in shown.getvalue()
    assert "skipped" not in run._repr_html_()


def test_a_refusal_is_one_sentence_and_an_empty_list_is_empty(server: RecordedServer) -> None:
    refused, allowed = [each for each in exchanges() if "who" in each]
    client = connect(server.address)
    server.play(refused)
    with pytest.raises(EdgelineError) as caught:
        asking(lambda: client.list_runs(namespace="kubeflow-user-example-com"))
    assert str(caught.value) == (
        "system:serviceaccount:default:default may not list runs in kubeflow-user-example-com: ask "
        "its owner for the role kubeflow-view."
    )
    server.play(allowed)
    assert client.list_runs(namespace="kubeflow-user-example-com").runs is None


def test_a_refused_upload_is_told_without_the_server_s_stack(
    server: RecordedServer, tmp_path: Path
) -> None:
    package = tmp_path / "legacy.yaml"
    package.write_text("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n")
    client = connect(server.address)
    with pytest.raises(EdgelineError) as caught:
        asking(lambda: client.upload_pipeline(str(package), pipeline_name="old"))
    said = "The server refuses (400): legacy Argo Workflow pipelines are no longer supported; "
    assert str(caught.value).startswith(said)
    assert ".go:" not in str(caught.value)
