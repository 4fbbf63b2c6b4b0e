"""How good the model of a run is: its main metric with the interval, and what it must reach."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.artifacts.folder import facts_of, schema_of
from edgeline.local.tasks import DONE, TaskResult
from edgeline.runtimes.metric_names import ACCURACY, AUC, AUC_TFMA, MSE

SCHEMA = "evaluation/v1"
FIRST = (AUC, AUC_TFMA, ACCURACY, "root_mean_squared_error", MSE, "mean_absolute_error")


@dataclass(frozen=True)
class Quality:
    """What an evaluation says of its model on all rows.

    Attributes:
        task: that evaluated it.
        metric: the one that says most; "" where the evaluation has none of `FIRST`.
        value: of the metric; None where it is undefined.
        lower, upper: ends of its 95 % interval; None where none was computed.
        least, most: the bounds that eval_config sets it; None for none.
        bounded: whether the evaluation tells bounds; an older edgeline's does not.
        baseline: the metric of the model that it was compared with; None for none.
        blessed: whether the evaluation accepts the model.
        rows: that were evaluated, of `split`.
    """

    task: str
    metric: str
    value: float | None
    lower: float | None
    upper: float | None
    least: float | None
    most: float | None
    bounded: bool
    baseline: float | None
    blessed: bool
    rows: int
    split: str


def of(tasks: Mapping[str, TaskResult]) -> list[Quality]:
    """One for each evaluation of a run, in the order of its tasks."""
    return [
        _quality(name, Path(str(output["uri"])))
        for name, task in tasks.items()
        if task.state in DONE
        for output in task.artifacts.values()
        if schema_of(output["uri"]) == SCHEMA
    ]


def _quality(task: str, folder: Path) -> Quality:
    facts, told = facts_of(folder), _read(folder / "metrics.json")
    overall = (told.get("slices") or [{}])[0]
    metrics: Mapping[str, Any] = overall.get("metrics", {})
    metric = next((name for name in FIRST if name in metrics), "")
    # the interval and the bounds of the exact AUC are those of TFMA's estimate of it
    estimate = AUC_TFMA if metric == AUC and AUC_TFMA in metrics else metric
    judged: Mapping[str, Any] = metrics.get(estimate, {})
    bounds: Mapping[str, Any] = told.get("bounds", {}).get(estimate, {})
    return Quality(
        task,
        metric,
        metrics.get(metric, {}).get("value"),
        judged.get("lower"),
        judged.get("upper"),
        bounds.get("lower"),
        bounds.get("upper"),
        "bounds" in told,
        overall.get("baseline", {}).get(metric, {}).get("value"),
        bool(facts.get("blessed")),
        int(facts.get("rows", 0)),
        str(facts.get("split", "")),
    )


def _read(file: Path) -> Mapping[str, Any]:
    """A JSON object; an empty one where the file is gone or of another form."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
