"""What a run is given, and a run here that is ended, interrupted or too long."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from made_events import BASE, NOW, declared, document
from running import eventually
from tiny_pipeline import TINY
from trigger_serving import Serving

from edgeline.errors import EdgelineError
from edgeline.triggers.here import LocalLauncher
from edgeline.triggers.launching import RefusedRunError
from edgeline.triggers.rules import TriggerRule
from edgeline.triggers.serving import read
from edgeline.triggers.store import Firing


def firing(rule: TriggerRule, since: float = 0.0) -> Firing:
    return Firing("retrain-1", rule.name, "", ("/a",), since, NOW, rule)


def arguments(folder: Path, since: float = 0.0, **rule: Any) -> dict[str, Any]:
    run = folder / "runs" / "retrain-1"
    run.mkdir(parents=True, exist_ok=True)
    [made] = declared(**rule).rules
    return LocalLauncher(folder, folder)._arguments(firing(made, since), run)


def test_a_run_is_given_its_parameters_with_the_places_filled_in(tmp_path: Path):
    run = {"pipeline": "taxi", "parameters": {"steps": 7, "model_name": "{model}-{rule}"}}
    found = arguments(tmp_path, run=run, model="taxi")
    compared = {"delivery.candidate": "", "evaluation.baseline": "latest"}
    assert found == {"steps": 7, "model_name": "taxi-retrain", **compared}
    found = arguments(tmp_path, run=run, model="taxi", then="candidate")
    assert found["delivery.candidate"] == "retrain"
    for own in ({"baseline": ""}, {"evaluation": {"baseline_model_uri": "x"}}):
        assert "evaluation.baseline" not in arguments(tmp_path, run={**run, "parameters": own})
    run["parameters"] = {"cache_name": "{mark} {since} {until}"}
    found = arguments(tmp_path, run=run)
    assert found["cache_name"] == "retrain-1 1970-01-01T00:00:00Z 2027-01-15T08:00:00Z"


def test_a_rule_on_a_server_whose_models_nothing_is_compared_with_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, said = tmp_path / "triggers.yaml", "are not compared with what is published"
    text = "rules:\n  - name: a\n    signals: [drift]\n    run:\n      pipeline: taxi\n"
    for more, is_told in (
        ("where: http://kfp", True),
        ("where: http://kfp\n      parameters: {baseline: latest}", False),
        ("where: here", False),
    ):
        caplog.clear()
        file.write_text(f"{text}      {more}\n")
        read(file)
        assert (said in caplog.text) == is_told, more


def test_a_rule_whose_pipeline_knows_no_baseline_is_named(tmp_path, caplog):
    file = tmp_path / "triggers.yaml"
    (tmp_path / "tiny.py").write_text(TINY)
    file.write_text("rules:\n  - {name: a, signals: [drift], run: {pipeline: tiny.py}}\n")
    read(file)
    assert "pipeline tiny.py does not have the parameter baseline" in caplog.text


def test_a_run_is_given_the_base_and_the_rows_since(tmp_path: Path):
    (tmp_path / "base.csv").write_text(BASE)
    (tmp_path / "payloads" / "taxi" / "1").mkdir(parents=True)
    row = {"fare": 3.5, "company": "C", "edgeline_id": "a", "edgeline_time": "2027-01-15T07:30"}
    (tmp_path / "payloads" / "taxi" / "1" / "a.jsonl").write_text(json.dumps(row))
    (tmp_path / "labels.jsonl").write_text('{"id": "a", "tips": 1}\n')
    data = {"base": "base.csv", "payloads": "payloads", "labels": "labels.jsonl"}
    given = {"run": {"pipeline": "taxi", "data": data}, "model": "taxi"}
    rows = tmp_path / "runs" / "retrain-1" / "rows.csv"
    assert arguments(tmp_path, **given)["data"] == f"{tmp_path / 'base.csv'},{rows}"
    assert rows.read_text() == "fare,company,tips\n3.5,C,1\n"
    assert json.loads(rows.with_name("rows.json").read_text())["rows"] == 1
    # a run that has succeeded since changes nothing, unless the rule asks for that
    assert arguments(tmp_path, since=NOW, **given)["data"] == f"{tmp_path / 'base.csv'},{rows}"
    data["since"] = "succeeded"
    with pytest.raises(RefusedRunError, match=r"^Refused before it began: 0 rows of payloads "):
        arguments(tmp_path, since=NOW, **given)
    data["least"] = 0
    assert arguments(tmp_path, since=NOW, **given)["data"] == str(tmp_path / "base.csv")
    assert json.loads(rows.with_name("rows.json").read_text())["too_early"] == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{}", "{wrod: a}", "no such parameter. Did you mean word?"),
        ("{}", "{times: many}", "times"),
        ("tiny.py", "none.py", "none.py"),
        ("run:", "then: candidate\n    run:", "does not publish candidates"),
        (
            "{}",
            "{}\n      data: {base: a.csv, payloads: p, labels: l}",
            "not have the parameter data",
        ),
    ],
)
def test_a_pipeline_that_does_not_fit_is_refused_before_anything_is_taken(old, new, said, tmp_path):
    text = "rules:\n  - name: a\n    signals: [drift]\n    run:\n      pipeline: tiny.py\n"
    text += "      parameters: {}\n"
    (tmp_path / "tiny.py").write_text(TINY)
    file = tmp_path / "triggers.yaml"
    file.write_text(text.replace(old, new))
    with pytest.raises(EdgelineError) as refused:
        read(file)
    assert str(refused.value).startswith(f"{file}")
    assert said in str(refused.value)


def run_of(server: Serving) -> dict[str, Any]:
    runs = server.ask("GET", "/state")[1]["rules"][0]["runs"]
    return runs[0] if runs else {"state": ""}


def start_one(server: Serving) -> None:
    for device in "ab":
        assert server.send(document(device, "fare", time=time.time()))[0] == 202


@pytest.mark.slow
def test_a_run_whose_processes_are_killed_goes_on(serving: Callable[..., Serving]):
    server = serving()
    once = "import time; Path('slept').exists() or (Path('slept').touch(), time.sleep(600))"
    (server.folder / "before-grow.py").write_text(once)
    start_one(server)
    runs = server.folder / "edgeline-triggers" / "runs"

    def has_read() -> bool:
        return any(
            json.loads(record.read_text())["tasks"]["read"]["state"] == "succeeded"
            for record in runs.glob("*/*/run.json")
        )

    eventually(lambda: has_read() and (server.folder / "slept").exists(), 90.0)
    mark = run_of(server)["mark"]
    found = [
        (each.info["cmdline"], each.pid)
        for each in psutil.process_iter(["cmdline"])
        if any(mark in part for part in each.info["cmdline"] or ())
    ]
    # who watches the run first: it would write how that ended
    for _, number in sorted(found, key=lambda each: "supervising" not in str(each[0])):
        os.kill(number, signal.SIGKILL)
    eventually(lambda: run_of(server)["state"] in ("succeeded", "failed"), 90.0)
    run = run_of(server)
    assert (run["mark"], run["state"], run["tries"]) == (mark, "succeeded", 2)
    assert (server.folder / "ran.txt").read_text() == "read grow tell "
    assert "was interrupted: it goes on" in server.log


@pytest.mark.slow
def test_a_run_alone_that_is_killed_has_failed(serving: Callable[..., Serving]):
    server = serving()
    (server.folder / "before-read.py").write_text("import time; time.sleep(600)")
    start_one(server)
    records = server.folder / "edgeline-triggers" / "runs"
    eventually(lambda: any(records.glob("*/*/run.json")), 90.0)
    [held] = records.glob("*/*/.running")
    os.kill(int(held.read_text()), signal.SIGKILL)
    eventually(lambda: run_of(server)["state"] in ("succeeded", "failed"), 90.0)
    assert (run_of(server)["state"], run_of(server)["tries"]) == ("failed", 1)
    assert run_of(server)["said"] == "it was ended by SIGKILL"


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_ended(serving: Callable[..., Serving]):
    run = "{pipeline: tiny.py, limit: 1}"
    rules = f"rules:\n  - name: a\n    signals: [drift]\n    quorum: 2\n    run: {run}\n"
    server = serving(rules=rules)
    (server.folder / "before-read.py").write_text("import time; time.sleep(600)")
    start_one(server)
    eventually(lambda: run_of(server)["state"] in ("succeeded", "failed"), 90.0)
    run_ended = run_of(server)
    assert run_ended["state"] == "failed"
    assert run_ended["said"] == "it was ended after its limit of 1 s"
