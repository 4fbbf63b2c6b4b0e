"""Requirements at the end of a run: a line each, in the terminal and on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from edgeline import artifacts
from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.cli.run import print_requirements
from edgeline.local.plan import PlannedTask
from edgeline.local.summary import requirements
from edgeline.local.tasks import TaskResult

GOOD = RequirementOutcome("auc of all rows", 0.9, True, 0.95)
BAD = RequirementOutcome("hub: size of the model", 100.0, False, 120.0, " kB")
UNKNOWN = RequirementOutcome("hub: energy of a prediction", 5.0, False, None, " mJ", needed=False)


def judged(
    folder: Path, name: str, met: list[RequirementOutcome], state: str = "succeeded"
) -> TaskResult:
    with artifacts.writing(folder / name, "verification/v1") as draft:
        draft.metadata["requirements"] = [each.to_json() for each in met]
    outputs: dict[str, Any] = {"found": {"uri": str(folder / name), "metadata": {}}}
    return TaskResult(PlannedTask(name, name, (), (), ""), state, outputs=outputs)


def test_each_requirement_is_told_once_with_how_much_it_is_met_or_not(tmp_path: Path) -> None:
    tasks = {
        "analyze": judged(tmp_path, "analyze", [GOOD]),
        "verify": judged(tmp_path, "verify", [BAD, UNKNOWN]),
        "publish": judged(tmp_path, "publish", [GOOD, BAD]),  # a bundle has them, too
        "verify-2": judged(tmp_path, "verify-2", [BAD], "failed"),
    }
    assert requirements(tasks) == [GOOD, BAD, UNKNOWN]
    console = Console(record=True, width=40, file=open("/dev/null", "w"))  # noqa: SIM115
    print_requirements(console, tasks)
    assert console.export_text().splitlines() == [
        "",
        "Requirements",
        "✔ met: auc of all rows is 0.95, at least 0.9 is required: 0.05 to spare.",
        "✘ not met: hub: size of the model is 120 kB, at most 100 kB is required: 20 kB over.",
        "– not measured: hub: energy of a prediction is not known, at most 5 mJ is required.",
    ]


def test_a_run_without_requirements_tells_none(tmp_path: Path) -> None:
    console = Console(record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_requirements(console, {"analyze": judged(tmp_path, "analyze", [])})
    assert console.export_text() == ""
