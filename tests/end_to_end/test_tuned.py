"""`edgeline tune taxi`: two trials, and the model of the chosen one is published."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import edgeline

pytestmark = pytest.mark.long  # a minute: two trials, and what follows them


def test_the_hyperparameters_that_won_are_trained_with_and_published(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("units: {choices: [8, 16]}\n")
    objectives = ("--objective", "auc", "--objective", "size_bytes")
    given = ("--set", "steps=100", "--set", "search_space=space.yaml")
    done = edgeline(tmp_path, "tune", "taxi", "--trials", "2", *objectives, *given)
    assert done.code == 0, done.output
    tasks = done.record["tasks"]
    assert {task["state"] for task in tasks.values()} <= {"succeeded", "skipped"}
    chosen = tasks["tune"]["outputs"]["hyperparameters"]
    assert chosen["units"] in (8, 16)
    assert Path(tasks["publish"]["outputs"]["uri"], "manifest.json").is_file()
