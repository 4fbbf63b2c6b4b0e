"""The metrics of a task, counted batch by batch, under the names that every step uses.

| name               | task                     | what                                            |
|--------------------|--------------------------|-------------------------------------------------|
| auc                | binary                   | area under the ROC curve: Mann and Whitney's    |
|                    |                          | statistic, ties half (Hanley and McNeil, 1982)  |
| accuracy           | binary                   | share of rows on the right side of a threshold  |
| accuracy           | multiclass               | share of rows whose largest score is the label's|
| mean_squared_error | regression               | of predictions and labels                       |

`train`, `analyze` and `verify` count them here, so that one model on the same rows has one value.
With weights a row counts as much as its weight: a share is of the sum of weights, and a pair of
rows in the AUC counts as the product of theirs. `verify` counts each row once.
What another library computes by another rule has another name: `auc_tfma` is TFMA's estimate from
10,000 thresholds, by which slices and an EvalConfig's thresholds are judged. Keras' AUC, from 200,
is a curve of `train` and no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgeline.artifacts.decision_threshold import says_yes
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes.metric_names import ACCURACY, AUC, MSE

ROWS = 1 << 20  # scores that are kept; what is made of them takes some 150 bytes each
BINS = 1 << 16


class Metric(Protocol):
    """Counts labelled predictions [rows, n], with weights [rows], and gives metrics by name."""

    def add(self, prediction: Array, label: Array, weight: Array | None = None) -> None: ...

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
        return says_yes(prediction[:, -1], threshold)
    return None if task == "regression" else np.argmax(prediction, axis=1)


def drop(name: str, cloud: float | None, edge: float | None) -> float | None:
    """How much worse the edge model is: cloud - edge, for an error its relative growth."""
    if cloud is None or edge is None:
        return None
    return (edge - cloud) / max(cloud, 1e-12) if name == MSE else cloud - edge


@dataclass(frozen=True)
class ScoreTable:
    """Labelled rows by rising score, in groups that no threshold here tells apart.

    Attributes:
        lowest, highest: of the scores of a group, float64 [groups].
        counts: negatives and positives of each group, or their weight, [2, groups].
        exact: whether a group has one score; else it is a bin of `BINS`, without its lower border.
    """

    lowest: Array
    highest: Array
    counts: Array
    exact: bool


class Binary:
    """AUC and accuracy. A score that is not finite counts as 0.

    AUC is exact for as many rows as `ROWS`. Beyond that, scores are counted in 65,536 equal bins
    of [0, 1], and two in one bin are a tie.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.rows = 0
        self.right = self.total = 0.0
        self.kept: list[tuple[Array, Array, Array | None]] = []
        self.counts: Array | None = None  # negatives and positives by bin, [2, BINS]

    def add(self, prediction: Array, label: Array, weight: Array | None = None) -> None:
        if weight is not None:  # what does not count makes no group of scores either
            counts = weight > 0
            prediction, label, weight = prediction[counts], label[counts], weight[counts]
        score = np.where(np.isfinite(prediction[:, -1]), prediction[:, -1], 0.0)
        positive = label > 0.5
        self.right += _sum(says_yes(score, self.threshold) == positive, weight)
        self.total += _sum(np.ones(len(score)), weight)
        self.rows += len(score)
        self._take(score, positive, weight)

    def merge(self, other: Binary) -> None:
        """Add what another has counted, in whatever process."""
        self.right, self.rows = self.right + other.right, self.rows + other.rows
        self.total += other.total
        if other.counts is not None:
            self._into_bins()
            self.counts = self.counts + other.counts
        for kept in other.kept:
            self._take(*kept)

    def result(self) -> dict[str, float | None]:
        negative, positive = self.by_score().counts.astype(np.float64)
        pairs = negative.sum() * positive.sum()
        below = np.cumsum(negative) - negative
        auc = float(positive @ (below + negative / 2) / pairs) if pairs else None
        return {AUC: auc, ACCURACY: self.right / self.total if self.total else None}

    def _take(self, score: Array, positive: Array, weight: Array | None) -> None:
        if self.rows > ROWS:
            self._into_bins()
        if self.counts is None:
            self.kept.append((score, positive, weight))
        else:
            self.counts = self.counts + _binned(score, positive, weight)

    def _into_bins(self) -> None:
        if self.counts is None:
            self.counts = np.zeros((2, BINS), np.int64)
            for kept in self.kept:
                self.counts = self.counts + _binned(*kept)
            self.kept = []

    def by_score(self) -> ScoreTable:
        """All rows by their score."""
        if self.counts is not None:
            borders = np.arange(BINS + 1) / BINS
            lowest = np.nextafter(borders[:-1], 1.0)
            lowest[0] = 0.0
            return ScoreTable(lowest, borders[1:], self.counts, exact=False)
        if not self.kept:
            return ScoreTable(np.zeros(0), np.zeros(0), np.zeros((2, 0), np.int64), exact=True)
        scores, positives, weights = zip(*self.kept, strict=True)
        score, positive = np.concatenate(scores), np.concatenate(positives)
        weight = None if weights[0] is None else np.concatenate(weights)
        places, which = np.unique(score.astype(np.float64), return_inverse=True)
        counts = _by_side(which.reshape(-1), positive, weight, len(places))
        return ScoreTable(places, places, counts, exact=True)


def _binned(score: Array, positive: Array, weight: Array | None) -> Array:
    bins = np.clip(np.ceil(score.astype(np.float64) * BINS) - 1, 0, BINS - 1).astype(np.int64)
    return _by_side(bins, positive, weight, BINS)


def _by_side(group: Array, positive: Array, weight: Array | None, groups: int) -> Array:
    """Negatives and positives of each group, or the sums of their weights: [2, groups]."""
    sides = (~positive, positive)
    weights = (None, None) if weight is None else tuple(weight[side] for side in sides)
    return np.stack(
        [np.bincount(group[side], each, groups) for side, each in zip(sides, weights, strict=True)]
    )


def _sum(values: Array, weight: Array | None) -> float:
    return float(np.sum(values) if weight is None else weight @ values)


class Multiclass:
    """Accuracy of the most probable class."""

    def __init__(self) -> None:
        self.right = self.total = 0.0

    def add(self, prediction: Array, label: Array, weight: Array | None = None) -> None:
        self.right += _sum(np.argmax(prediction, axis=1) == label, weight)
        self.total += _sum(np.ones(len(label)), weight)

    def result(self) -> dict[str, float | None]:
        return {ACCURACY: self.right / self.total if self.total else None}


class Regression:
    """Mean squared error; a prediction that is not finite counts as 0."""

    def __init__(self) -> None:
        self.squares = self.total = 0.0

    def add(self, prediction: Array, label: Array, weight: Array | None = None) -> None:
        finite = np.where(np.isfinite(prediction[:, -1]), prediction[:, -1], 0.0)
        self.squares += _sum((finite.astype(np.float64) - label) ** 2, weight)
        self.total += _sum(np.ones(len(label)), weight)

    def result(self) -> dict[str, float | None]:
        return {MSE: self.squares / self.total if self.total else None}
