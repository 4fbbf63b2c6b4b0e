"""Why a model was not published, as the terminal says it after the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeline.local.plan import PlannedTask
from edgeline.local.refusals import not_judged, refusals
from edgeline.local.tasks import TaskResult


def _task(folder: Path, name: str, file: str, told: dict[str, Any]) -> TaskResult:
    artifact = folder / name
    artifact.mkdir()
    (artifact / file).write_text(json.dumps(told))
    outputs = {"blessed": False, "kept": {"uri": str(artifact), "metadata": {}}}
    planned = PlannedTask(name, name, (), (), "")
    return TaskResult(planned, "succeeded", outputs=outputs)


def test_each_reason_is_told_with_its_task_and_a_good_model_has_none(tmp_path: Path) -> None:
    slow = [f"reason {number}." for number in range(7)]
    tasks = {
        "analyze": _task(
            tmp_path,
            "analyze",
            "validation.json",
            {
                "blessed": False,
                "failures": ["auc of slice press-06 is 0.56, below the lower bound 0.8."],
            },
        ),
        "verify": _task(tmp_path, "verify", "verification.json", {"approved": True, "reasons": []}),
        "verify[1]": _task(
            tmp_path, "verify[1]", "verification.json", {"approved": False, "reasons": slow}
        ),
    }
    assert refusals(tasks) == [
        "analyze: auc of slice press-06 is 0.56, below the lower bound 0.8.",
        *(f"verify[1]: reason {number}." for number in range(5)),
        "verify[1]: 2 more in its report.",
    ]


def test_what_was_not_judged_of_a_model_is_told_and_other_notes_are_not(tmp_path: Path) -> None:
    notes = ["The baseline is taxi 2.", "Not judged: 20 rows.", "No baseline: nothing is there."]
    told = {"blessed": True, "failures": [], "notes": notes}
    tasks = {"analyze": _task(tmp_path, "analyze", "validation.json", told)}
    assert not_judged(tasks) == [f"analyze: {note}" for note in notes[1:]]
    assert refusals(tasks) == []
