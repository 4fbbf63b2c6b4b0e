"""docs/triggers.md: its files and commands, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made_events import document
from trigger_serving import Serving

from edgeline.triggers import metrics, rules
from edgeline.triggers.events import MOST
from edgeline.triggers.rules import KINDS

GUIDE = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)


def edgeline(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "edgeline", *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_guide_names_every_field_and_metric_that_it_should():
    for name in (*rules.TriggerRule.__struct_fields__, *rules.TriggerFile.__struct_fields__):
        if name not in ("name", "rules", "run"):
            assert f"`{name}" in GUIDE, name
    for name in rules.RunOrder.__struct_fields__:
        assert f"`{name}`" in GUIDE or f"`run.{name}`" in GUIDE, name
    for place in rules.PLACES:
        assert f"`{{{place}}}`" in GUIDE
    assert all(f"`{kind}`" in GUIDE for kind in KINDS)
    assert f"up to {MOST}" in GUIDE
    assert set(re.findall(r"edgeline_trigger_\w+", GUIDE)) <= metrics.METRICS.keys()


def test_what_it_shows_of_data_is_a_file(tmp_path: Path):
    [shown] = [text for kind, text in BLOCKS if kind == "yaml" and "payloads:" in text]
    whole = f"rules:\n  - name: a\n    signals: [drift]\n{shown}"
    (tmp_path / "triggers.yaml").write_text(whole)
    [rule] = rules.read(tmp_path / "triggers.yaml").rules
    assert rule.run.data is not None
    assert rule.run.data.base == "data/trips.csv"


@pytest.mark.slow
def test_its_rules_are_checked_and_its_event_is_sent_as_shown(
    tmp_path: Path, serving: Callable[..., Serving]
):
    text = next(text for kind, text in BLOCKS if kind == "yaml")
    console = [text for kind, text in BLOCKS if kind == "console"]
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "triggers.yaml").write_text(text)
    [said] = re.findall(r"^taxi-drift: drift of .*$", console[0], re.MULTILINE)
    assert edgeline(tmp_path / "shown", "triggers", "check", "triggers.yaml") == said + "\n"

    # its rules on a pipeline that takes seconds
    parameters = re.search(r"parameters: \{steps.*\}", text)[0]
    quick = text.replace(parameters, "parameters: {times: 2}").replace(
        "taxi\n      par", "tiny.py\n      par"
    )
    server = serving(rules=quick)
    [send] = [
        re.search(r"\$ edgeline (triggers send .*)", each) for each in console if "send" in each
    ]
    address = f"http://127.0.0.1:{server.http}/events"
    answer = edgeline(tmp_path, *send[1].replace("http://127.0.0.1:8090/events", address).split())
    assert answer.endswith(": unmatched\n")
    at = server.ask("GET", "/state")[1]["time"]
    for device in "ab":
        assert server.send({**document(device, "fare"), "time": at})[0] == 202
    shown = edgeline(tmp_path, "triggers", "show", "triggers.yaml")
    assert shown.startswith(
        "taxi-drift: 2 of the 5 devices (of 200) that it takes in fare within 86400 s.\n"
    )
    events = edgeline(tmp_path, "triggers", "show", "triggers.yaml", "--events")
    (tmp_path / "events.jsonl").write_text(events)
    rehearsed = edgeline(
        tmp_path, "triggers", "serve", "triggers.yaml", "--dry-run", "events.jsonl"
    )
    assert "0 runs; events: 2 counted, 1 unmatched. Nothing was run.\n" in rehearsed
