"""What is exact of all rows: the AUC, as in `train` and `verify`, and the decision thresholds.

See `edgeline.runtimes.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeline.artifacts.decision_threshold import USUAL
from edgeline.components.analyze.decision import ThresholdOutcome, decisions
from edgeline.components.analyze.decision_goal import DecisionGoal
from edgeline.formats.dtypes import Array
from edgeline.runtimes.metric_names import AUC
from edgeline.runtimes.metrics import Binary

Counted = dict[str, Binary]  # by model, the candidate first


@dataclass(frozen=True)
class Overall:
    """Of all rows of a binary task; empty of another.

    Attributes:
        aucs: by model, the candidate first; None where all rows have one class.
        decisions: see `decision.decisions`.
    """

    aucs: dict[str, float | None]
    decisions: list[ThresholdOutcome]

    def to_json(self) -> dict[str, object]:
        return {"aucs": self.aucs, "decisions": [each.to_json() for each in self.decisions]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Overall:
        return cls(value["aucs"], [ThresholdOutcome.from_json(each) for each in value["decisions"]])


def counted(
    task: str,
    label: Array,
    predictions: Mapping[str, Array],
    weights: Mapping[str, Array] | None = None,
) -> Counted:
    """Of some rows of a binary task: label, predictions and weights by model [rows].

    Nothing of another task.
    """
    found: Counted = {}
    if task == "binary_classification":
        for model, scores in predictions.items():
            found[model] = Binary(USUAL)
            found[model].add(scores[:, None], label, (weights or {}).get(model))
    return found


def merged(parts: Iterable[Counted]) -> Counted:
    """All parts as one; they stay as they are, which Beam asks of what it combines."""
    found: Counted = {}
    for part in parts:
        for model, more in part.items():
            found.setdefault(model, Binary(USUAL)).merge(more)
    return found


def overall(found: Counted, goals: Sequence[DecisionGoal]) -> Overall:
    """What is made of all rows.

    Args:
        goals: what thresholds are chosen by, for the candidate.
    """
    aucs = {model: each.result()[AUC] for model, each in found.items()}
    candidate = next(iter(found.values()), None)
    return Overall(aucs, decisions(goals, candidate.by_score()) if candidate else [])
