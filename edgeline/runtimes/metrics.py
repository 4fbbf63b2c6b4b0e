"""The metrics of a task, counted batch by batch: memory does not grow with the rows."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeline.errors import EdgelineError

BINS = 1 << 16

Array = npt.NDArray[Any]


class Metric(Protocol):
    """Counts labelled predictions [rows, n] and gives metrics by name."""

    def add(self, prediction: Array, label: Array) -> None: ...

    def result(self) -> dict[str, float | None]: ...


def metric(task: str, threshold: float) -> Metric:
    """The metrics of a task; `threshold` is the decision threshold of a binary one.

    Raises:
        EdgelineError: the task is unknown.
    """
    if task == "binary_classification":
        return Binary(threshold)
    if task == "multiclass_classification":
        return Multiclass()
    if task == "regression":
        return Regression()
    raise EdgelineError(f"Task {task!r} of the model is unknown: train it again.")


def decisions(task: str, prediction: Array, threshold: float) -> Array | None:
    """What a prediction [rows, n] decides: bool, class index, or None for a regression."""
    if task == "binary_classification":
        return np.asarray(prediction[:, -1] > threshold)
    return None if task == "regression" else np.argmax(prediction, axis=1)


def drop(name: str, cloud: float | None, edge: float | None) -> float | None:
    """How much worse the edge model is: cloud - edge, for an error its relative growth."""
    if cloud is None or edge is None:
        return None
    return (edge - cloud) / max(cloud, 1e-12) if name == "mse" else cloud - edge


class Binary:
    """AUC and accuracy. A score that is not finite counts as 0.

    AUC is the Mann-Whitney statistic over 65,536 equal bins of [0, 1], ties half
    (Hanley and McNeil, 1982): exact where no two scores of different labels share a bin.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.counts = np.zeros((2, BINS), np.int64)
        self.right = 0

    def add(self, prediction: Array, label: Array) -> None:
        score = np.where(np.isfinite(prediction[:, -1]), prediction[:, -1], 0.0)
        positive = label > 0.5
        self.right += int(np.sum((score > self.threshold) == positive))
        bins = np.clip(score.astype(np.float64) * BINS, 0, BINS - 1).astype(np.int64)
        for side, chosen in enumerate((~positive, positive)):
            self.counts[side] += np.bincount(bins[chosen], minlength=BINS)

    def result(self) -> dict[str, float | None]:
        negative, positive = self.counts.astype(np.float64)
        pairs, rows = negative.sum() * positive.sum(), int(self.counts.sum())
        below = np.cumsum(negative) - negative
        auc = float(positive @ (below + negative / 2) / pairs) if pairs else None
        return {"auc": auc, "accuracy": self.right / rows if rows else None}


class Multiclass:
    """Accuracy of the most probable class."""

    def __init__(self) -> None:
        self.right = self.rows = 0

    def add(self, prediction: Array, label: Array) -> None:
        self.right += int(np.sum(np.argmax(prediction, axis=1) == label))
        self.rows += len(label)

    def result(self) -> dict[str, float | None]:
        return {"accuracy": self.right / self.rows if self.rows else None}


class Regression:
    """Mean squared error; a prediction that is not finite counts as 0."""

    def __init__(self) -> None:
        self.squares, self.rows = 0.0, 0

    def add(self, prediction: Array, label: Array) -> None:
        finite = np.where(np.isfinite(prediction[:, -1]), prediction[:, -1], 0.0)
        self.squares += float(np.sum((finite.astype(np.float64) - label) ** 2))
        self.rows += len(label)

    def result(self) -> dict[str, float | None]:
        return {"mse": self.squares / self.rows if self.rows else None}
