"""`edgeline.Client` on KFP's API as documented (see documented_server.py): no real KFP server."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import edgeline
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

TASKS = ("ingest", "validate", "transform", "train", "analyze", "convert", "verify", "publish")


def details(*states: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "display_name": name,
            "state": state,
            "start_time": "2026-01-01T00:00:00Z",
            "end_time": "2026-01-01T00:00:07Z",
        }
        for name, state in states
    ]


def client(server: Any, **options: Any) -> tuple[edgeline.Client, io.StringIO]:
    text = io.StringIO()
    return edgeline.Client(server.address, console=Console(file=text, width=100), **options), text


def test_a_run_is_submitted_watched_and_ends(any_server: Any) -> None:
    server = any_server
    server.tasks["first"] = details(*((name, "SUCCEEDED") for name in TASKS))
    here, shown = client(server)
    run = here.submit("taxi", name="first", steps=7)
    run.poll = 0.0
    assert run.wait().state == "succeeded"
    assert [name for name in TASKS if f"{name} " in shown.getvalue()] == list(TASKS)
    assert run.tasks["train"].seconds == 7.0
    assert run.tasks["notify"].state == "skipped"  # the server never told of it
    (sent,) = server.runs.values()
    parameters = sent["runtime_config"]["parameters"]  # all of them, as the form sends them
    assert len(parameters) == 12
    assert parameters["with_training"]["steps"] == 7
    assert parameters["with_training"]["batch_size"] == 40
    assert "<table>" in run._repr_html_()


def test_what_the_server_will_not_tell_is_said_before(
    server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five targets make a workflow that Argo compresses; the run is started all the same."""
    here, _ = client(server)
    here.submit("digits", name="five")
    said = " ".join(capsys.readouterr().err.split())
    assert "Warning: the workflow of this run becomes some 1,3" in said
    assert "2 of its 5 targets fit, [" in said
    here.submit("digits", name="two", targets=["onnx", "tflite-micro"])
    assert "Warning" not in capsys.readouterr().err
    assert len(server.runs) == 2


def test_an_equal_pipeline_is_uploaded_once_and_named_as_in_git(
    server: Any, tmp_path: Path
) -> None:
    here, _ = client(server)
    here.submit("taxi", name="one")
    here.submit("taxi", name="two", steps=9)
    here.submit("taxi", name="three", environment="onprem", destination="s3://models/taxi")
    uploads = [line for line in server.asked if "upload_version" in line]
    assert len(uploads) == 2  # one for each of the two environments
    from edgeline.client.compiling import compile_pipeline

    path = compile_pipeline("taxi", f"{tmp_path}/out/", kubernetes=True)
    assert path.stem in {version["display_name"] for version in server.versions.values()}


def test_another_cache_is_not_asked_for_earlier_results(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out that the refusal names, by the name that the pipeline has in its form."""
    asked = []
    monkeypatch.setattr("edgeline.client.cached_inputs.check", lambda *given: asked.append(given))
    here = client(server)[0]
    here.submit("taxi", name="first")
    here.submit("taxi", name="second")
    assert len(asked) == 1  # the first has no earlier one
    here.submit("taxi", name="third", cache_name="2026-11")
    assert len(asked) == 1


@pytest.mark.parametrize("environment", ["", "onprem"])
def test_pipeline_and_version_tell_their_parameters(environment: str, server: Any) -> None:
    """Kubeflow's form does not. Its box of a description has room for a line of the pipeline's,
    and a version's is in an address, and so is short."""
    here, _ = client(server)
    here.submit("taxi", environment=environment, destination="s3://models/taxi")
    (pipeline,) = server.pipelines.values()
    (version,) = server.versions.values()
    about = "Chicago taxi trips: will the tip exceed a fifth of the fare?"
    assert pipeline["description"] == about
    rows = version["description"].splitlines()
    assert any("`with_training`" in row and '{"steps": 300' in row for row in rows)
    assert len(version["description"]) <= 2000


def test_a_failed_run_says_which_task_and_why(server: Any) -> None:
    server.tasks["bad"] = details(("ingest", "SUCCEEDED"), ("train", "FAILED"))
    run = client(server)[0].submit("taxi", name="bad")
    run.poll = 0.0
    logs = f"{server.address}/#/runs/details/{run.id}"  # the API does not say why
    with pytest.raises(EdgelineError, match=f"^Task train failed: see its logs at {logs}$"):
        run.wait()
    assert f'<a href="{logs}">' in run._repr_html_()


def test_waiting_ends_in_time_and_the_run_goes_on(server: Any) -> None:
    server.tasks["long"] = details(*((name, "SUCCEEDED") for name in TASKS))
    run = client(server)[0].submit("taxi", name="long")
    with pytest.raises(EdgelineError, match="has not ended in time; it goes on"):
        run.wait(timeout=0)
    run.cancel()
    run.cancel()  # a second time the server refuses it
    run.poll = 0.0
    with pytest.raises(EdgelineError, match=f"^Run {run.id} was cancelled: see http"):
        run.wait()
    assert run.state == "canceled"
    run.cancel()


def test_reports_and_numbers_come_from_the_run_s_place_in_the_store(
    server: Any, tmp_path: Path
) -> None:
    run = client(server, root=str(tmp_path))[0].submit("taxi", name="stored")
    folder = tmp_path / "taxi" / run.id / "analyze" / "0b3e"
    (folder / "evaluation").mkdir(parents=True)
    slices = [{"metrics": {"auc": {"value": 0.95}, "matrix": {"value": {}}}}]
    (folder / "evaluation" / "metrics.json").write_text(json.dumps({"rows": 3, "slices": slices}))
    (folder / "evaluation_report").write_text("<!doctype html><script>alert(1)</script>")
    assert run.metrics == {"analyze": {"auc": 0.95}}
    shown = run.reports["analyze"]._repr_html_()
    assert shown.startswith('<iframe sandbox=""')
    assert "<script>" not in shown  # it is text of the frame, and runs nowhere


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"pipeline": "taxi", "stepz": 1},
            "Parameter stepz: the pipeline has no such parameter. Did you mean steps?",
        ),
        (
            {"pipeline": "tabular"},
            "Pipeline tabular also needs data, destination, label, model_name, module",
        ),
        ({"pipeline": "nothing"}, "nothing"),
    ],
)
def test_a_wrong_request_is_refused_before_the_server_is_asked(
    arguments: dict[str, Any], said: str, server: Any
) -> None:
    here, _ = client(server)
    with pytest.raises(EdgelineError, match=said):
        here.submit(**arguments)
    assert server.changes == []


def test_a_pipeline_is_loaded_once_for_a_run(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "open('loaded', 'a').write('x')\nfrom edgeline.pipelines.taxi.pipeline import pipeline\n"
    (tmp_path / "own.py").write_text(own)
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "edgeline", "submit", "own.py", "--host", server.address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "loaded").read_text() == "x"


def test_the_command_prints_the_run(server: Any) -> None:
    command = [sys.executable, "-m", "edgeline", "submit", "taxi", "--set", "steps=3"]
    done = subprocess.run(
        [*command, "--host", server.address, "--name", "mine"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = server.runs.values()
    assert done.stdout == f"{run['run_id']}\n"  # so that $(edgeline submit ...) is the run
    assert f"Run details: {server.address}/#/runs/details/{run['run_id']}" in done.stderr
    assert run["display_name"] == "mine"
