"""Which of a model's scores is explained, and what it is the score of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.bundle import BINARY

MULTICLASS, REGRESSION = "multiclass_classification", "regression"


def targets(task: str, scores: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The output of each row of scores [rows, outputs]: of several classes the best one's, of two
    that of yes, of a regression the only one; int64 [rows]."""
    if task == MULTICLASS:
        return np.asarray(scores.argmax(axis=1))
    return np.full(len(scores), scores.shape[1] - 1)


def name(task: str, labels: Sequence[str], target: int) -> str:
    """What an output is the score of, in words; "" of a regression."""
    return class_name(task, labels, 1 if task == BINARY else target)


def class_name(task: str, labels: Sequence[str], decision: int) -> str:
    """A decision in words; "" of a regression."""
    if task == REGRESSION:
        return ""
    if decision < len(labels):
        return labels[decision]
    return ("no", "yes")[decision] if task == BINARY else str(decision)
