"""The ready-made problems run as they are, and their models are worth something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import edgeline

from edgeline.artifacts import bundle
from edgeline.artifacts.folder import facts_of

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("name", "metric", "least", "most"),
    [
        ("pumps", "auc", 0.85, 1.0),
        ("reviews", "accuracy", 0.95, 1.0),
        ("fraud", "auc", 0.85, 1.0),
        ("diabetes", "root_mean_squared_error", 0.0, 65.0),
        ("symbols", "accuracy", 0.75, 1.0),
    ],
)
def test_a_problem_is_published_as_it_is_made(
    name: str, metric: str, least: float, most: float, tmp_path: Path
) -> None:
    made = edgeline(tmp_path, "init", name, "--example", name)
    assert made.code == 0, made.output
    done = edgeline(tmp_path / name, "run", "pipeline.py")
    assert done.code == 0, done.output
    published = bundle.read(tmp_path / name / "models" / name / "1")
    assert published.takes == "raw"
    outputs: dict[str, Any] = done.record["tasks"]["analyze"]["outputs"]
    metrics = facts_of(Path(outputs["evaluation"]["uri"]))["metrics"]
    assert least <= metrics[metric] <= most, metrics
