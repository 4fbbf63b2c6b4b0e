"""Why a model was not published, and what was not judged of it: what analyze and verify wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline.artifacts import verdicts
from edgeline.artifacts.candidates import reasons_where_none_is_chosen
from edgeline.artifacts.folder import facts_of
from edgeline.artifacts.verdicts import VERDICTS, reasons_against
from edgeline.local.tasks import TaskResult

SHOWN = 5  # reasons of one task; its report has the others


def refusals(tasks: Mapping[str, TaskResult]) -> list[str]:
    """A sentence for each reason, after the name of its task; none where no model was refused."""
    found = []
    for name, task in tasks.items():
        reasons = [reason for output in task.artifacts.values() for reason in _reasons(output)]
        found += [f"{name}: {reason}" for reason in reasons[:SHOWN]]
        if more := len(reasons) - SHOWN:
            found += [f"{name}: {more} more in its report."] if more > 0 else []
    return found


def _reasons(output: Mapping[str, Any]) -> list[str]:
    for name in VERDICTS:
        file = Path(str(output["uri"])) / name
        if file.is_file():
            return reasons_against(name, file.read_text("utf-8"))
    return reasons_where_none_is_chosen(facts_of(output["uri"]))


def not_judged(tasks: Mapping[str, TaskResult]) -> list[str]:
    """A sentence for all that analyze has not judged of a model, after the name of its task."""
    return [
        f"{name}: {note}"
        for name, task in tasks.items()
        for output in task.artifacts.values()
        if (file := Path(str(output["uri"])) / "validation.json").is_file()
        for note in verdicts.not_judged(file.read_text("utf-8"))
    ]
