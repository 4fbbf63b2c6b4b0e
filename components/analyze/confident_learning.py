"""Confident learning: which labels a model's scores doubt.

The rule (C. Northcutt, L. Jiang and I. Chuang, Confident Learning: Estimating Uncertainty
in Dataset Labels, 2021): a class counts as confident for a row where its score is at least the mean
score that rows with that label give it. A row is doubtful where the most likely of its confident
classes is not its label; the most doubtful have the lowest margin, the label's score less the
largest of the others. Scores have to come from a model that was not trained on these rows, so only
the evaluated split is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from edgeline.formats.dtypes import Array

MOST = 50
PIECE_ROWS = 1 << 16


@dataclass(frozen=True)
class DoubtfulLabel:
    """A row whose label is in doubt.

    Attributes:
        row: its place in the split, from 0.
        label, likely: names of the class that it is labelled as, and of the likely one.
        label_score, likely_score: the model's, 0 to 1.
        margin: the label's score less the largest other one: -1 to 1, the lower the more doubtful.
    """

    row: int
    label: str
    likely: str
    label_score: float
    likely_score: float
    margin: float

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def find(
    label: Array, scores: npt.NDArray[np.float32], classes: Sequence[str]
) -> tuple[list[DoubtfulLabel], int]:
    """The most doubtful labels, these first, and how many are doubtful in all.

    Args:
        label: numbers of classes [rows].
        scores: of classes [rows, classes], or of yes [rows].
        classes: their names.
    """
    sums, counts = np.zeros(len(classes)), np.zeros(len(classes))
    for truth, given, _ in _pieces(label, scores):
        own = given[np.arange(len(given)), truth]
        sums += np.bincount(truth, own, len(classes))
        counts += np.bincount(truth, minlength=len(classes))
    # a class that no row is labelled as is never confident
    confident = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    found: list[tuple[float, int, int, int, float, float]] = []
    total = 0
    for truth, given, start in _pieces(label, scores):
        likely = np.where(given >= confident - 1e-6, given, -1.0)
        best = likely.argmax(1)
        rows = np.flatnonzero((likely.max(1) >= 0) & (best != truth))
        total += len(rows)
        own = given[rows, truth[rows]]
        other = given[rows].copy()
        other[np.arange(len(rows)), truth[rows]] = -np.inf
        margin = own - other.max(1)
        for at in np.argsort(margin, kind="stable")[:MOST].tolist():
            row = int(rows[at])
            found.append(
                (
                    float(margin[at]),
                    start + row,
                    int(truth[row]),
                    int(best[row]),
                    float(own[at]),
                    float(given[row, best[row]]),
                )
            )
        found = sorted(found)[:MOST]
    return [
        DoubtfulLabel(row, classes[own], classes[other], score, likely_score, margin)
        for margin, row, own, other, score, likely_score in found
    ], total


def _pieces(label: Array, scores: npt.NDArray[np.float32]) -> list[tuple[Array, Array, int]]:
    """Class numbers, scores of all classes and the first row, of some rows at a time."""

    def piece(start: int) -> tuple[Array, Array, int]:
        given = scores[start : start + PIECE_ROWS].astype(np.float64)
        if given.ndim == 1 or given.shape[1] == 1:
            yes = given.reshape(-1)
            given = np.stack([1 - yes, yes], 1)
        return label[start : start + PIECE_ROWS].astype(np.int64), given, start

    return list(map(piece, range(0, len(label), PIECE_ROWS)))
