"""`edgeline tune taxi`: two trials, and the model of the chosen one is published; Katib's trial of
the same hyperparameters finds the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import edgeline

pytestmark = pytest.mark.long  # a minute: two trials, and what follows them


def test_the_hyperparameters_that_won_are_trained_with_and_published(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("hidden_units: {choices: [[8], [16]]}\n")
    objectives = ("--objective", "auc", "--objective", "size_bytes")
    given = ("--set", "steps=100", "--set", "search_space=space.yaml")
    done = edgeline(tmp_path, "tune", "taxi", "--trials", "2", *objectives, *given)
    assert done.code == 0, done.output
    tasks = done.record["tasks"]
    assert {task["state"] for task in tasks.values()} <= {"succeeded", "skipped"}
    chosen = tasks["tune"]["outputs"]["hyperparameters"]
    assert chosen["hidden_units"] in ([8], [16])
    assert Path(tasks["publish"]["outputs"]["uri"], "manifest.json").is_file()

    # Katib's trial of the same hyperparameters gives the same numbers
    study = tasks["tune"]["outputs"]["study"]["uri"]
    trials = json.loads((Path(study) / "trials.json").read_text())
    wanted = next(each["values"] for each in trials if each["hyperparameters"] == chosen)
    asked = ("--as", "katib", "--env", "onprem", "-o", "search.yaml")
    done = edgeline(tmp_path, "tune", "taxi", *objectives, *given, *asked)
    assert done.code == 0, done.output
    ended, log = trial(tmp_path, {"hidden_units": str(chosen["hidden_units"])})
    assert ended == 0, log
    assert (tmp_path / "completed").read_text() == "completed\n"
    read = dict(re.findall(METRIC, log, re.MULTILINE))
    assert {name: float(read[name]) for name in wanted} == wanted

    # one that fails says why, and Katib is told no number
    (tmp_path / "completed").unlink()
    ended, log = trial(tmp_path, {"hidden_units": "[9]"})
    assert ended != 0 and "hidden_units is '[9]': give one of [8], [16]." in log
    assert not re.findall(METRIC, log, re.MULTILINE) and not (tmp_path / "completed").exists()


# the filter of an Experiment that `edgeline tune --as katib` writes
METRIC = r"^edgeline-trial ([\w.-]+)=([+-]?\d*(?:\.\d+)?(?:[Ee][+-]?\d+)?)$"


def trial(folder: Path, chosen: dict[str, str]) -> tuple[int, str]:
    """A trial as Katib starts it, by a line of a shell: its code, and what it printed."""
    document: Any = yaml.safe_load((folder / "search.yaml").read_text())
    template = document["spec"]["trialTemplate"]
    [metrics] = document["spec"]["metricsCollectorSpec"]["source"]["filter"]["metricsFormat"]
    assert metrics.replace("(\\.", "(?:\\.").replace("([Ee]", "(?:[Ee]") == METRIC
    text = json.dumps(template["trialSpec"])
    for name, value in chosen.items():
        text = text.replace(f"${{trialParameters.{name}}}", value)
    [container] = json.loads(text)["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    line = [*container["command"], "1>metrics.log", "2>&1", "&&", "echo completed > completed"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", " ".join(line)],
        cwd=folder,
        env={**os.environ, **told, "PATH": path, "KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        check=False,
    )
    return done.returncode, (folder / "metrics.log").read_text()
