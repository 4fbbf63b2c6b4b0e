"""What is drawn of all rows: counts that add up, the same from every engine.

| task       | table                                                                        |
|------------|------------------------------------------------------------------------------|
| binary     | [3, 100]: negatives, positives and the sum of scores by hundredth of score   |
| multiclass | [classes, classes]: rows by label and top class                              |
| regression | [60, 60]: rows by label and prediction, on a symmetric logarithmic scale     |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeline.formats.dtypes import Array

BINS = 100
CELLS = 60
REACH = float(np.arcsinh(1e6))


@dataclass(frozen=True)
class Curves:
    """The table of a task, see above."""

    task: str
    table: Array

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return int(
            self.table[:2].sum() if self.task == "binary_classification" else self.table.sum()
        )

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
        """Rows by label and predicted class, int64 [classes, classes] (binary: score above 0.5)."""
        counts = self.table
        if self.task == "binary_classification":
            counts = counts[:2].reshape(2, 2, -1).sum(axis=2)
        return counts.astype(np.int64)


def of(task: str, label: Array, prediction: Array) -> Curves:
    """The table of some rows: label [rows], prediction [rows] or [rows, classes]."""
    if task == "binary_classification":
        score = prediction.astype(np.float64)
        index = np.clip(np.ceil(score * BINS) - 1, 0, BINS - 1).astype(int)
        lines = [np.bincount(index, weight, BINS) for weight in (label != 1, label == 1, score)]
        return Curves(task, np.stack(lines))
    if task == "multiclass_classification":
        classes = prediction.shape[1]
        cell = label.astype(int) * classes + prediction.argmax(axis=1)
        counts = np.bincount(cell, minlength=classes**2).reshape(classes, classes)
        return Curves(task, counts.astype(np.float64))
    cell = scale(label) * CELLS + scale(prediction)
    return Curves(task, np.bincount(cell, minlength=CELLS**2).reshape(CELLS, CELLS).astype(float))


def scale(value: Array) -> Array:
    """The cell of a value on the symmetric logarithmic scale from -1e6 to 1e6."""
    place = (np.arcsinh(value.astype(np.float64)) / REACH + 1) / 2
    return np.clip(place * CELLS, 0, CELLS - 1).astype(int)


def values_of_cells() -> Array:
    """The values at the CELLS + 1 borders of the cells."""
    borders: Array = np.sinh((np.linspace(0, 1, CELLS + 1) * 2 - 1) * REACH)
    return borders
