"""Why a model was not published: what analyze and verify wrote about one that they refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline.local.tasks import TaskResult

SHOWN = 5  # reasons of one task; its report has the others
VERDICTS = {  # the file in an artifact's folder: its verdict and the reasons against the model
    "validation.json": ("blessed", "failures"),
    "verification.json": ("approved", "reasons"),
}


def refusals(tasks: Mapping[str, TaskResult]) -> list[str]:
    """A sentence for each reason, after the name of its task; none where no model was refused."""
    found = []
    for name, task in tasks.items():
        reasons = [reason for output in task.outputs.values() for reason in _reasons(output)]
        found += [f"{name}: {reason}" for reason in reasons[:SHOWN]]
        if more := len(reasons) - SHOWN:
            found += [f"{name}: {more} more in its report."] if more > 0 else []
    return found


def _reasons(output: Any) -> list[str]:
    if not isinstance(output, dict):
        return []
    for name, (verdict, reasons) in VERDICTS.items():
        file = Path(str(output.get("uri", ""))) / name
        if file.is_file():
            told = json.loads(file.read_text("utf-8"))
            return [] if told[verdict] else list(map(str, told[reasons]))
    return []
