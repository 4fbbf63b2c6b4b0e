"""The taxi pipeline killed in its training goes on; a second run is compared with the first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import edgeline

pytestmark = pytest.mark.long

BEFORE = {"settings", "ingest", "validate", "transform"}


def test_a_run_killed_in_its_training_goes_on_and_is_compared(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "edgeline", "run", "taxi"], cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    tasks: dict[str, dict[str, str]] = {}
    while tasks.get("train", {}).get("state") != "running":
        assert run.poll() is None, "it ended before its training"
        time.sleep(0.1)
        for record in tmp_path.glob("edgeline-runs/*/run.json"):
            tasks = json.loads(record.read_text())["tasks"]
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    done = {name for name, task in tasks.items() if task["state"] == "succeeded"}
    assert done >= BEFORE - {"validate"}

    resumed = edgeline(tmp_path, "run", "--resume")
    assert resumed.code == 0, resumed.output
    assert "Nothing has changed since" in resumed.output
    record = resumed.record
    assert [each["state"] for each in record["attempts"]] == ["interrupted", "succeeded"]
    states = {name: task["state"] for name, task in record["tasks"].items()}
    assert {states[name] for name in done} == {"cached"}, states
    assert states["publish"] == "succeeded"
    assert (tmp_path / "edgeline-models" / "taxi" / "1").is_dir()
    assert not (tmp_path / "edgeline-models" / "taxi" / "2").exists()

    longer = edgeline(tmp_path, "run", "taxi", "--cache", "--set", "steps=300")
    assert longer.code == 0, longer.output
    assert longer.record["tasks"]["transform"]["state"] == "cached"
    assert resumed.run and longer.run
    names = (resumed.run.name, longer.run.name)
    compared = edgeline(tmp_path, "runs", "compare", *names, "--json")
    told = json.loads(compared.output)
    assert [each["name"] for each in told["parameters"]] == ["training.steps"]
    assert told["slices"] and told["same_rows"] is True
    assert all(row["values"][0]["lower"] is not None for row in told["slices"][:3])
