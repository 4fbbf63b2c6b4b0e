"""Where a run of this machine says that its bundles are."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeline import artifacts
from edgeline.artifacts.bundle import SCHEMA
from edgeline.client.local import LocalRun
from edgeline.errors import EdgelineError
from edgeline.local.plan import PlannedTask
from edgeline.local.tasks import RunResult, TaskResult


def run_with(folder: Path, *names: str) -> LocalRun:
    """A run whose tasks published bundles of some names."""
    tasks = {}
    for number, name in enumerate(names):
        place = folder / str(number)
        with artifacts.writing(place, SCHEMA) as draft:
            draft.metadata.update(name=name, version=3, uri=f"models/{name}/3")
        task = f"publish-{number}"
        outputs = {"uri": "", "bundle": {"uri": str(place), "metadata": {}}}
        tasks[task] = TaskResult(PlannedTask(task, task, ()), "succeeded", outputs=outputs)
    return LocalRun(RunResult("taxi", folder, 1.0, tasks), folder / "index.html")


def test_the_only_one_is_told_by_its_place(tmp_path):
    assert run_with(tmp_path, "taxi").bundle == "models/taxi/3"


def test_of_several_one_is_to_be_chosen(tmp_path):
    run = run_with(tmp_path, "taxi", "taxi-ethos-u55")
    assert run.bundles == {"taxi": "models/taxi/3", "taxi-ethos-u55": "models/taxi-ethos-u55/3"}
    with pytest.raises(
        EdgelineError, match="published taxi, taxi-ethos-u55: take one of `bundles`"
    ):
        _ = run.bundle


def test_where_none_was_published_it_is_said_why(tmp_path):
    run = run_with(tmp_path)
    assert run.bundles == {}
    with pytest.raises(EdgelineError, match=r"^The run of taxi has published no bundle. The run's"):
        _ = run.bundle
