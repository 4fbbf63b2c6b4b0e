"""The taxi pipeline, each task in a container of its image, by kfp.local's DockerRunner."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from containers import ask, built, docker, until

from edgeline.artifacts import bundle

TASKS = [
    "ingest",
    "validate",
    "transform",
    "train",
    "analyze",
    "convert",
    "verify",
    "model-card",
    "publish",
    "settings",
]


@pytest.fixture(scope="module")
def taxi(tmp_path_factory) -> Path:
    """The folder where it was run."""
    for name in ("pipeline", "train"):
        built(name)
    folder = tmp_path_factory.mktemp("taxi")
    done = subprocess.run(
        [sys.executable, "-m", "edgeline", "run", "taxi", "--docker"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_task_succeeds_and_the_model_is_good(taxi):
    [record] = taxi.glob("edgeline-runs/*/run.json")
    tasks = json.loads(record.read_text())["tasks"]
    assert {name: task["state"] for name, task in tasks.items()} == dict.fromkeys(
        [*TASKS, "notify"], "succeeded"
    )
    assert tasks["analyze"]["outputs"]["evaluation_metrics"]["metadata"]["auc"] >= 0.92
    assert tasks["verify"]["outputs"]["approved"] is True


def test_no_container_is_left(taxi):
    [folder] = taxi.glob("edgeline-runs/taxi-*")
    assert not docker("ps", "--all", "--quiet", "--filter", f"volume={folder}")


def test_the_edge_server_serves_what_was_published(taxi, started):
    folder = taxi / "edgeline-models" / "taxi" / "1"
    published = bundle.read(folder)
    assert published.takes == "raw"
    container = started(
        "--network=none",
        "--read-only",
        "--tmpfs=/tmp",
        f"--user={os.getuid()}:{os.getgid()}",  # the files are the runner's
        f"--volume={folder}:/models:ro",
        built("edge-server"),
        *("/models", "--tokens", "none"),
    )
    row = {
        feature.name: {"string": "", "int64": -(2**63), "float32": float("nan")}[feature.dtype]
        for feature in published.features
    }
    until(lambda: 0 <= ask(container, published.name, row)[0] <= 1, True)


def test_a_task_that_fails_is_its_sentence(tmp_path):
    built("pipeline")
    with open(Path(__file__).parents[2] / "pipelines" / "taxi" / "taxi.csv") as source:
        head, first, second, *others = itertools.islice(source, 100)
    (tmp_path / "ragged.csv").write_text("".join([head, first, f"{second.rstrip()},5\n", *others]))
    done = subprocess.run(
        [sys.executable, "-m", "edgeline", "run", "taxi", "--docker", "--set", "data=ragged.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    said = " ".join((done.stdout + done.stderr).split())
    assert "Task ingest failed" in said
    assert "row 3" in said
    assert "Traceback" not in said
