"""What reads KFP's answers, on messages that a real API server wrote (recorded/README.md)."""

from __future__ import annotations

import http.server
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from edgeline.client.remote import RemoteRun
from edgeline.errors import EdgelineError
from edgeline.kubeflow import connect
from edgeline.local.plan import plan
from edgeline.pipelines import catalogue
from edgeline.schedules.declaration import read
from edgeline.schedules.reconcile import differences

RECORDED = Path(__file__).parent / "recorded"
PIPELINE = "9b187b86-7c0a-42ae-a0bc-2a746b6eb7a3"
MARK = "[edgeline schedules of recorded]"
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


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.json").read_bytes()


def listed(key: str, name: str) -> bytes:
    return b'{"%s":[%s],"total_size":1,"next_page_token":""}' % (key.encode(), recorded(name))


class Replay(http.server.ThreadingHTTPServer):
    """Answers each path with the message recorded for it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = {
            "healthz": b'{"multi_user":false}',
            "runs/failed-run-456": recorded("run_failed"),
            "runs/completed-run-123": recorded("run_completed"),
            "experiments": listed("experiments", "experiment"),
            "pipelines": listed("pipelines", "pipeline"),
            f"pipelines/{PIPELINE}/versions": listed("pipeline_versions", "pipeline_version"),
            "recurringruns": listed("recurringRuns", "recurring_run"),
        }
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Replay

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        answer = self.server.answers.get(urlsplit(self.path).path.removeprefix("/apis/v2beta1/"))
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer or b"")))
        self.end_headers()
        self.wfile.write(answer or b"")


@pytest.fixture
def replay() -> Iterator[Replay]:
    running = Replay()
    yield running
    running.shutdown()
    running.server_close()


def run_of(replay: Replay, key: str) -> tuple[RemoteRun, io.StringIO]:
    planned = plan(catalogue.load("taxi").pipeline_spec)
    shown = io.StringIO()
    console = Console(file=shown, width=100)
    return RemoteRun(connect(replay.address), key, "taxi", planned, "", console, poll=0.0), shown


def test_a_recorded_failed_run_is_told_with_the_server_s_own_words(replay: Replay) -> None:
    run, _ = run_of(replay, "failed-run-456")
    with pytest.raises(
        EdgelineError, match=r"^Run failed-run-456 failed: This was a Failed Run\.$"
    ):
        run.wait()


def test_of_tasks_that_a_recorded_run_does_not_tell_nothing_is_claimed(replay: Replay) -> None:
    run, shown = run_of(replay, "completed-run-123")
    assert run.wait().state == "succeeded"
    assert {task.state for task in run.tasks.values()} == {"unknown"}
    assert "not run" not in shown.getvalue()
    assert "skipped" not in run._repr_html_()


def schedule(replay: Replay, tmp_path: Path, text: str, **recurring: Any) -> list[Any]:
    """The differences from the recorded recurring run, but for what is given of it."""
    message = {**json.loads(recorded("recurring_run")), **recurring}
    answer = {"recurringRuns": [message], "total_size": 1, "next_page_token": ""}
    replay.answers["recurringruns"] = json.dumps(answer).encode()
    path = tmp_path / "schedules.yaml"
    path.write_text(text)
    return list(differences(connect(replay.address), read(str(path))))


def test_a_recorded_recurring_run_of_somebody_else_is_left_alone(
    replay: Replay, tmp_path: Path
) -> None:
    (change,) = schedule(replay, tmp_path, DAILY)
    assert (change.action, change.ids) == ("create", ())


def test_a_recorded_recurring_run_is_compared_field_by_field(
    replay: Replay, tmp_path: Path
) -> None:
    marked = f"{json.loads(recorded('recurring_run'))['description']} {MARK}"
    (change,) = schedule(replay, tmp_path, DAILY, description=marked)
    assert (change.action, change.ids) == ("change", ("recurring-run-789",))
    assert change.was == {
        "experiment": "",  # it names none
        "max_concurrency": 0,
        "parameters": {"batch_size": 500, "processing_date": "${system.date}"},
    }


def test_parameters_that_the_recorded_version_has_not_are_refused(
    replay: Replay, tmp_path: Path
) -> None:
    said = "sets batch_size, but pipeline 'Production Data Processing Pipeline' has no parameters"
    with pytest.raises(EdgelineError, match=said):
        schedule(replay, tmp_path, DAILY + "    parameters: {batch_size: 500}\n")
