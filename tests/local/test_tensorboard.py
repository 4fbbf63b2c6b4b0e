"""Logs for TensorBoard, as TensorFlow's own reader has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_here import Edgeline, edgeline
from test_comparison import kept_run

from edgeline import artifacts
from edgeline.artifacts import models

__all__ = ["edgeline"]

pytestmark = pytest.mark.slow  # imports TensorFlow


def test_trainings_are_written_as_tensorflow_reads_them(tmp_path: Path, edgeline: Edgeline) -> None:
    import tensorflow as tf

    root = tmp_path / "edgeline-runs"
    root.mkdir()
    model = kept_run(root, "one", 10, 0.8, 0.7) / "model"
    (model / "steps.json").write_text(json.dumps([[5, 0.75, 0.01], [300, 0.5, None, 1.5]]))
    kept_run(root, "two", 10, 0.9, 0.7)
    code, said = edgeline("runs", "tensorboard", "one", "two", "-o", "logs", "--json")
    assert code == 0, said
    assert len(json.loads(said)["files"]) == 4
    found = {}
    for file in sorted((tmp_path / "logs").rglob("events*")):
        events = tf.compat.v1.train.summary_iterator(str(file))
        found[str(file.parent.relative_to(tmp_path / "logs"))] = [
            (value.tag, event.step, round(value.simple_value, 4))
            for event in events
            for value in event.summary.value
        ]
    assert found["one/train"] == [
        ("epoch_loss", 0, 0.5),
        ("epoch_loss", 1, 0.4),
        ("step_loss", 5, 0.75),
        ("learning_rate", 5, 0.01),
        ("step_loss", 300, 0.5),
        ("step_gradient_norm", 300, 1.5),
    ]
    assert found["two/eval"] == [("epoch_loss", 0, 0.6), ("epoch_loss", 1, 0.36)]


def test_a_run_that_has_not_trained_is_told(tmp_path: Path, edgeline: Edgeline) -> None:
    root = tmp_path / "edgeline-runs"
    root.mkdir()
    (kept_run(root, "one", 10, 0.8, 0.7) / "model" / "history.json").unlink()
    code, said = edgeline("runs", "tensorboard")
    assert (code, said) == (
        1, "Error: No task of the runs one has trained a model: name others.",
    )  # fmt: skip


def test_a_projector_without_vectors_is_refused_before_anything_is_written(
    tmp_path: Path, edgeline: Edgeline
) -> None:
    root = tmp_path / "edgeline-runs"
    root.mkdir()
    model = kept_run(root, "one", 10, 0.8, 0.7) / "model"
    history = (model / "history.json").read_text()
    shutil.rmtree(model)
    with artifacts.writing(model, models.SCHEMA) as draft:
        (draft.path / "history.json").write_text(history)
    code, said = edgeline("runs", "tensorboard", "--projector", "-o", "logs")
    assert (code, said) == (
        1,
        "Error: No model of the runs one has an Embedding layer, or says so (those of older "
        "versions do not): name others, or leave --projector out.",
    )
    assert not (tmp_path / "logs").exists()
