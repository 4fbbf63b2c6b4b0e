"""The exit handler: the worker with a real HTTP server, the face in local pipelines."""

import http.server
import json
import threading

import pytest
from kfp import dsl, local

from edgeline import artifacts
from edgeline.components.notify.component import notify as notify_face
from edgeline.components.notify.notify import notify


@pytest.fixture
def hook():
    """An HTTP server that keeps what is posted; `status` is what it answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.posted.append((self.path, json.loads(body)))
            self.send_response(self.server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.posted, server.status = [], 200
        server.url = f"http://127.0.0.1:{server.server_port}/secret-path"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def no_webhook(monkeypatch):
    for name in ("EDGELINE_WEBHOOK", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


FAILURE = {
    "state": "FAILED",
    "task": "train",
    "error_code": 9,
    "error": "out of\nmemory",
    "pipeline_name": "taxi",
    "run_id": "run-7",
}


def test_a_failure_is_one_line_and_one_file(tmp_path, capsys):
    metadata = notify(outcome_path=tmp_path / "outcome", **FAILURE)
    line = "Pipeline taxi (run-7): FAILED in train: out of memory"
    assert capsys.readouterr().out == line + "\n"
    assert json.loads((tmp_path / "outcome/outcome.json").read_text()) == {
        "text": line,
        "pipeline": "taxi",
        "run": "run-7",
        "state": "FAILED",
        "task": "train",
        "error_code": 9,
        "error": "out of\nmemory",
        "published": None,
        "refused": [],
        "page": "",
    }
    assert metadata == {"edgeline_schema": "outcome/v1", "state": "FAILED", "task": "train"}
    assert artifacts.read(tmp_path / "outcome", "outcome/v1").metadata["state"] == "FAILED"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("SUCCEEDED", "SUCCEEDED"),
        ("COMPLETE", "SUCCEEDED"),  # KFP's driver calls it so
        ("RUNNING", "how it ended is not known here: see the run's page"),
        ("FAILED", "FAILED: why is not known here: see the run's page"),
    ],
)
def test_where_nothing_can_be_asked_only_a_final_state_is_told(state, said, tmp_path, capsys):
    notify(
        outcome_path=tmp_path / "outcome", state=state, task="exit-handler-1", pipeline_name="taxi"
    )
    assert capsys.readouterr().out == f"Pipeline taxi: {said}\n"


def ended(folder, **told):
    """The exit handler's line where `edgeline run` noted this."""
    note = {"tasks": {}, "published": [], "refused": [], **told}
    note["tasks"] = {
        name: {"state": state, "error": error} for name, (state, error) in note["tasks"].items()
    }
    (folder / "tasks.json").write_text(json.dumps(note))
    notify(outcome_path=folder / "notify" / "outcome", state="RUNNING", pipeline_name="taxi")
    return json.loads((folder / "notify/outcome/outcome.json").read_text())


DONE = {"train": ("succeeded", ""), "publish": ("succeeded", "")}


def test_what_was_published_is_told(tmp_path):
    outcome = ended(tmp_path, tasks=DONE, published=["s3://models/taxi/3"])
    assert outcome["text"] == "Pipeline taxi: SUCCEEDED: published s3://models/taxi/3"
    assert outcome["published"] == ["s3://models/taxi/3"]


def test_why_a_model_was_refused_is_told(tmp_path):
    tasks = {"train": ("cached", ""), "publish": ("skipped", "")}
    outcome = ended(tmp_path, tasks=tasks, refused=["analyze: auc 0.5 is below 0.9"])
    assert outcome["text"] == "Pipeline taxi: SUCCEEDED: refused by analyze: auc 0.5 is below 0.9"
    reasons = [f"verify: {number}" for number in range(9)]
    text = ended(tmp_path, tasks=tasks, refused=reasons)["text"]
    assert text.endswith("refused by verify: 0; verify: 1; verify: 2; 6 more")
    text = ended(tmp_path, tasks=tasks)["text"]
    assert text.endswith("SUCCEEDED: nothing was published, since a condition was false")


def test_the_task_that_failed_is_told_with_its_reason(tmp_path):
    tasks = {"train": ("failed", "row 7 has no fare: add it."), "publish": ("skipped", "")}
    outcome = ended(tmp_path, tasks=tasks)
    assert outcome["text"] == "Pipeline taxi: FAILED in train: row 7 has no fare: add it."
    assert (outcome["state"], outcome["task"]) == ("FAILED", "train")


def test_no_secret_of_the_environment_is_told(tmp_path, monkeypatch, hook, capsys):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("EDGELINE_WEBHOOK", hook.url)
    error = f"s3 refuses hush-hush at {hook.url}"
    text = ended(tmp_path, tasks={"train": ("failed", error)})["text"]
    assert text == "Pipeline taxi: FAILED in train: s3 refuses *** at ***"
    assert "hush-hush" not in capsys.readouterr().out
    assert "hush-hush" not in json.dumps(hook.posted)


def test_a_webhook_gets_the_outcome(tmp_path, hook, monkeypatch):
    notify(outcome_path=tmp_path / "outcome", webhook=hook.url, **FAILURE)
    monkeypatch.setenv("EDGELINE_WEBHOOK", hook.url)
    notify(outcome_path=tmp_path / "outcome", **FAILURE)
    outcome = json.loads((tmp_path / "outcome/outcome.json").read_text())
    assert hook.posted == [("/secret-path", outcome)] * 2


def test_a_webhook_that_fails_is_one_line_without_its_url(tmp_path, hook, capsys):
    hook.status = 500
    notify(outcome_path=tmp_path / "a", webhook=hook.url, state="SUCCEEDED")
    hook.shutdown()
    hook.server_close()
    notify(outcome_path=tmp_path / "b", webhook=hook.url, state="SUCCEEDED")
    notify(outcome_path=tmp_path / "c", webhook="http://[secret-path", state="SUCCEEDED")
    notify(outcome_path=tmp_path / "d", webhook="file:///secret-path", state="SUCCEEDED")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1::2] == [
        "The webhook was not reached (500).",
        "The webhook was not reached ([Errno 111] Connection refused).",
        "The webhook was not reached (ValueError).",
        "The webhook was not called: its URL begins with neither http:// nor https://.",
    ]
    assert all((tmp_path / name / "outcome.json").exists() for name in "abcd")


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def step(fails: bool):
    assert not fails, "the oven is cold"


@dsl.pipeline
def baking(fails: bool):
    handler = notify_face(
        pipeline_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER
    )
    with dsl.ExitHandler(handler):
        step(fails=fails)


@pytest.mark.parametrize(("fails", "state"), [(False, "SUCCEEDED"), (True, "FAILED")])
def test_as_the_exit_handler_of_a_pipeline(fails, state, tmp_path, hook, monkeypatch):
    monkeypatch.setenv("EDGELINE_WEBHOOK", hook.url)
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(tmp_path),
        raise_on_error=False,
    )
    baking(fails=fails)
    ((_, outcome),) = hook.posted
    assert outcome["state"] == state
    assert outcome["pipeline"].startswith("baking")
    assert outcome["run"]
    assert bool(outcome["error"]) == fails
    assert outcome["published"] is None
    (written,) = tmp_path.rglob("outcome.json")
    assert json.loads(written.read_text()) == outcome
