"""What is drawn of all rows: counts that add up, the same from every engine.

| task       | table                                                                        |
|------------|------------------------------------------------------------------------------|
| binary     | [3, 100]: negatives, positives and the sum of scores by hundredth of score   |
| multiclass | [classes, classes]: rows by label and top class                              |
| regression | [60, 60]: rows by label and prediction, on a symmetric logarithmic scale     |

Where rows have example weights, these are summed in place of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeline.formats.dtypes import Array

BINS = 100
CELLS = 60
REACH = float(np.arcsinh(1e6))
SUMS = 3


@dataclass(frozen=True)
class Curves:
    """The table of a task, see above.

    Attributes:
        sums: rows, their weights and the squares of these, float64 [3].
        weighted: whether the table has sums of weights.
    """

    task: str
    table: Array
    sums: Array
    weighted: bool = False

    def __add__(self, other: Curves) -> Curves:
        """The table of the rows of both."""
        return Curves(self.task, self.table + other.table, self.sums + other.sums, self.weighted)

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return int(self.sums[0])

    @property
    def effective_rows(self) -> float:
        """How many rows of equal weight tell as much: (sum w)² / sum w² (L. Kish, 1965)."""
        return float(self.sums[1] ** 2 / self.sums[2])

    def roc(self, points: int = BINS // 2) -> tuple[list[float], list[float], list[float]] | None:
        """False and true positive rate at falling thresholds from 1 to 0, all finite.

        None where one class is missing, for then there is no curve.
        """
        counts = self.table[:2, ::-1]
        totals = counts.sum(axis=1, keepdims=True)
        if self.task != "binary_classification" or not totals.all():
            return None
        rates = np.concatenate([np.zeros((2, 1)), counts.cumsum(axis=1) / totals], axis=1)
        step = BINS // points
        thresholds = np.linspace(1, 0, BINS + 1)[::step]
        fpr, tpr = rates[:, ::step]
        return fpr.tolist(), tpr.tolist(), np.round(thresholds, 6).tolist()

    def confusion(self) -> Array:
        """Rows by label and predicted class, [classes, classes] (binary: score above 0.5).

        int64, or float64 where rows are weighted.
        """
        counts = self.table
        if self.task == "binary_classification":
            counts = counts[:2].reshape(2, 2, -1).sum(axis=2)
        return counts if self.weighted else counts.astype(np.int64)


def of(task: str, label: Array, prediction: Array, weight: Array | None = None) -> Curves:
    """The table of some rows: label and weight [rows], prediction [rows] or [rows, classes]."""
    counted = np.ones(len(label)) if weight is None else weight
    sums = np.array([len(label), counted.sum(), counted @ counted])
    return Curves(task, _table(task, label, prediction, counted), sums, weight is not None)


def _table(task: str, label: Array, prediction: Array, weight: Array) -> Array:
    if task == "binary_classification":
        score = prediction.astype(np.float64)
        index = np.clip(np.ceil(score * BINS) - 1, 0, BINS - 1).astype(int)
        values = (label != 1, label == 1, score)
        return np.stack([np.bincount(index, value * weight, BINS) for value in values])
    if task == "multiclass_classification":
        classes = prediction.shape[1]
        cell = label.astype(int) * classes + prediction.argmax(axis=1)
        return np.bincount(cell, weight, classes**2).reshape(classes, classes)
    cell = scale(label) * CELLS + scale(prediction)
    return np.bincount(cell, weight, CELLS**2).reshape(CELLS, CELLS)


def scale(value: Array) -> Array:
    """The cell of a value on the symmetric logarithmic scale from -1e6 to 1e6."""
    place = (np.arcsinh(value.astype(np.float64)) / REACH + 1) / 2
    return np.clip(place * CELLS, 0, CELLS - 1).astype(int)


def values_of_cells() -> Array:
    """The values at the CELLS + 1 borders of the cells."""
    borders: Array = np.sinh((np.linspace(0, 1, CELLS + 1) * 2 - 1) * REACH)
    return borders
