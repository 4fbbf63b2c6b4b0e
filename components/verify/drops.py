"""How large a drop of a metric may be, where only some rows were seen.

Cloud and edge model answer the same rows, so what counts is how they differ row by row: the bounds
are of paired differences, the upper ends of one-sided intervals with a confidence of 95 %.

| metric             | bound                                                                  |
|--------------------|------------------------------------------------------------------------|
| accuracy           | the share of rows that the cloud model alone gets right (see `shares`) |
| auc                | DeLong, DeLong and Clarke-Pearson (1988), from midranks (Sun and Xu,   |
|                    | 2014); where hardly a row moved among the others, no less than the     |
|                    | share of the rarer class's rows that may and were not seen             |
| mean_squared_error | of the ratio of the two errors, by the delta method                    |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from edgeline.artifacts.shares import DEVIATIONS, at_most
from edgeline.formats.dtypes import Array
from edgeline.runtimes.metric_names import ACCURACY, AUC, MSE
from edgeline.runtimes.metrics import decisions

MOST_SCORES = 1 << 20  # rows of which AUC's bound is computed, the first
FEW = 10  # rows that moved among the others, below which these do not tell how many more may


@dataclass
class Drops:
    """Counts labelled answers of two models, batch by batch."""

    task: str
    threshold: float
    rows: int = 0
    lost: int = 0  # rows that the cloud model alone gets right
    scores: list[tuple[Array, Array, Array]] = field(default_factory=list)
    kept: int = 0
    errors: Array = field(default_factory=lambda: np.zeros(5))

    def add(self, cloud: Array, edge: Array, label: Array) -> None:
        """Take in predictions [rows, n] of both, and the labels [rows], all finite."""
        self.rows += len(label)
        before, after = (decisions(self.task, side, self.threshold) for side in (cloud, edge))
        if before is None or after is None:
            self._add_errors(_finite(cloud[:, -1]), _finite(edge[:, -1]), label)
            return
        if self.task != "binary_classification":
            self.lost += int(np.sum((before == label) & (after != label)))
            return
        positive = label > 0.5
        self.lost += int(np.sum((before == positive) & (after != positive)))
        some = slice(0, max(MOST_SCORES - self.kept, 0))
        self.kept += len(positive[some])
        self.scores.append((_finite(cloud[some, -1]), _finite(edge[some, -1]), positive[some]))

    def at_most(self) -> dict[str, float | None]:
        """By metric, the drop (see `metrics.drop`) that the true one is not above.

        None where too few rows have a label to tell anything.
        """
        if self.task == "regression":
            return {MSE: _of_errors(self.rows, self.errors)}
        accuracy = at_most(self.lost, self.rows) if self.rows else None
        if self.task != "binary_classification":
            return {ACCURACY: accuracy}
        cloud, edge, positive = (
            np.concatenate(part) if part else np.zeros(0, bool)
            for part in (zip(*self.scores, strict=True) if self.scores else ((), (), ()))
        )
        return {AUC: _of_scores(cloud, edge, positive), ACCURACY: accuracy}

    def _add_errors(self, cloud: Array, edge: Array, label: Array) -> None:
        error = (cloud - label) ** 2
        more = (edge - label) ** 2 - error
        sums = [more.sum(), (more**2).sum(), (more * error).sum(), error.sum(), (error**2).sum()]
        self.errors = self.errors + np.array(sums)


def _finite(values: Array) -> Array:
    """As the metrics take them: what is not finite is 0."""
    return np.where(np.isfinite(values), values, 0.0).astype(np.float64)


def _of_scores(cloud: Array, edge: Array, positive: Array) -> float | None:
    """The bound of AUC's drop: scores [rows] of both models, and which rows are positive."""
    rows = [int(positive.sum()), int((~positive).sum())]
    if min(rows) < 2:
        return None
    of_positives, of_negatives = (
        before - after
        for before, after in zip(_placed(cloud, positive), _placed(edge, positive), strict=True)
    )
    variance = of_positives.var(ddof=1) / rows[0] + of_negatives.var(ddof=1) / rows[1]
    bound = float(of_positives.mean()) + _student(min(rows) - 1) * math.sqrt(variance)
    moved = np.count_nonzero(of_positives) + np.count_nonzero(of_negatives)
    return min(1.0, bound if moved >= FEW else max(bound, at_most(0, min(rows))))


def _placed(scores: Array, positive: Array) -> tuple[Array, Array]:
    """Of each positive the share of negatives below it, of each negative that of positives above.

    Ties count half.
    """
    ranks = _midranks(scores)
    below = (ranks[positive] - _midranks(scores[positive])) / (~positive).sum()
    above = 1 - (ranks[~positive] - _midranks(scores[~positive])) / positive.sum()
    return below, above


def _midranks(values: Array) -> Array:
    """Ranks from 1 on; equal values have the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return ranks


def _of_errors(rows: int, sums: Array) -> float | None:
    """The bound of the relative growth of the mean error."""
    more, more_squared, mixed, error, error_squared = map(float, sums)
    if rows < 2 or not error:
        return None
    growth = more / error
    spread = more_squared - 2 * growth * mixed + growth**2 * error_squared
    deviation = math.sqrt(max(spread, 0.0) * rows / (rows - 1)) / error
    return growth + _student(rows - 1) * deviation


def _student(degrees: int) -> float:
    """Below which 95 % of Student's t lie, by the expansion of Fisher and Cornish (1960).

    Its error is below 1 % from 3 degrees of freedom on.
    """
    if degrees < 3:
        return (6.313752, 2.919986)[degrees - 1]
    z = DEVIATIONS
    first = (z**3 + z) / (4 * degrees)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    return z + first + second + third
