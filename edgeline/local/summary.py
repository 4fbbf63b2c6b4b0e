"""The numbers that tasks found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeline.artifacts import outcomes
from edgeline.artifacts.candidates import CHOICE_SCHEMA
from edgeline.artifacts.folder import facts_of, schema_of
from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.local.tasks import RunResult, TaskResult

FIRST = ("analyze", "verify", "train")  # whose numbers say most of a run
SHOWN = 3


def metrics(task: TaskResult) -> dict[str, float]:
    """The numbers that a task found, from its Metrics outputs."""
    found: dict[str, float] = {}
    for name, output in task.artifacts.items():
        if _is_metrics(name, output):
            found |= numbers_in(output["metadata"])
    return found


def numbers_in(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among some values."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def requirements(tasks: Mapping[str, TaskResult]) -> list[RequirementOutcome]:
    """What came of each requirement, in the order of the tasks; one that two tell alike once."""
    found = (
        each
        for task in tasks.values()
        for output in task.artifacts.values()
        if task.state in ("succeeded", "cached")
        for each in outcomes.of(facts_of(output["uri"]))
    )
    return list(dict.fromkeys(found))


def choice(tasks: Mapping[str, TaskResult]) -> Mapping[str, Any]:
    """The metadata of the choice among candidates; empty where a run has none."""
    for task in tasks.values():
        for output in task.artifacts.values():
            uri = output["uri"]
            if task.state in ("succeeded", "cached") and schema_of(uri) == CHOICE_SCHEMA:
                return facts_of(uri)
    return {}


def headline(result: RunResult) -> dict[str, float]:
    """The few numbers of a run that tell it from others: analyze's, or else another task's."""
    first = [name for name in FIRST if name in result.tasks]
    for name in dict.fromkeys([*first, *result.tasks]):
        if found := metrics(result.tasks[name]):
            return dict(list(found.items())[:SHOWN])
    return {}


def _is_metrics(name: str, output: Mapping[str, Any]) -> bool:
    kind = output.get("type", {})  # which a task from the cache does not have
    title = kind.get("schemaTitle") if isinstance(kind, Mapping) else ""
    return title == "system.Metrics" or name.endswith("metrics")
