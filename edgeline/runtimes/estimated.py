"""How good a model is on rows without labels: estimated from its own calibrated scores.

Where a score's calibrated probability is p, a row that is decided yes is right with probability p,
one that is decided no with 1 - p. Summed over rows, that is the expected confusion matrix, and
every metric of it is an estimate (confidence-based performance estimation, CBPE: J. Bialek et al.,
Estimating model performance under covariate shift without labels, arXiv:2401.08348, 2024; NannyML):

    accuracy = (TP + TN) / n,   TP = sum of p over yes,   TN = sum of 1 - p over no
    AUC = sum over score groups of P_g (N_below + N_g / 2) / (P N),   P_g = sum of p, N_g of 1 - p

This follows a shift of the inputs, as long as a score goes on meaning what it meant on the held-out
rows. It does not see that labels come about otherwise: `edgeline.runtimes.concept` tells that.

The interval of the accuracy covers two sources of chance at 95 %: which of the rows turn out right
(a sum of independent draws: sum of p (1 - p) / n^2), and how few held-out rows each probability is
made of (the share of rows in each step squared, times its variance). That of the AUC is J. Hanley
and B. McNeil's (The meaning and use of the area under a ROC curve, Radiology 143, 1982), of the
expected numbers of rows here and of the held-out ones, added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeline.artifacts.calibration import BINARY, Calibration
from edgeline.formats.dtypes import Array
from edgeline.runtimes.metric_names import ACCURACY, AUC

Z = 1.96  # two-sided, 95 %


@dataclass(frozen=True)
class Interval:
    """A value, and between what it lies at 95 %."""

    value: float
    low: float
    high: float

    @classmethod
    def around(
        cls, value: float, variance: float, least: float = 0.0, most: float = 1.0
    ) -> Interval:
        half = Z * math.sqrt(max(variance, 0.0))
        return cls(value, max(least, value - half), min(most, value + half))

    def to_json(self) -> dict[str, float]:
        return {name: round(float(getattr(self, name)), 6) for name in ("value", "low", "high")}


@dataclass(frozen=True)
class ScoreTally:
    """What was counted of some rows' scores: as large for any number of rows.

    Attributes:
        rows: of each segment of the map, int64 [segments].
        sums: of the probabilities in each, float64 [segments].
        right: expected right decisions.
        spread: sum of p (1 - p), the variance of `right`.
        confusion: expected true and false positives, false and true negatives; float64 [4], of a
            multiclass model zeros.
    """

    rows: Array
    sums: Array
    right: float
    spread: float
    confusion: Array

    def __add__(self, other: ScoreTally) -> ScoreTally:
        return ScoreTally(
            self.rows + other.rows,
            self.sums + other.sums,
            self.right + other.right,
            self.spread + other.spread,
            self.confusion + other.confusion,
        )


def none_of(calibration: Calibration) -> ScoreTally:
    """The tally of no row."""
    segments = 2 * len(calibration.rows) + 1
    return ScoreTally(np.zeros(segments, np.int64), np.zeros(segments), 0.0, 0.0, np.zeros(4))


def tally(calibration: Calibration, scores: Array, decided: Array) -> ScoreTally:
    """Count rows.

    Args:
        scores: as the map takes them, [rows].
        decided: of a binary model whether the decision is yes, [rows]; of others it is not read.
    """
    p = calibration(scores)
    segments = calibration.segments(scores)
    size = 2 * len(calibration.rows) + 1
    right, confusion = p, np.zeros(4)
    if calibration.task == BINARY:
        yes = np.asarray(decided, bool)
        right = np.where(yes, p, 1 - p)
        confusion = np.array([p[yes].sum(), (1 - p)[yes].sum(), p[~yes].sum(), (1 - p)[~yes].sum()])
    return ScoreTally(
        np.bincount(segments, minlength=size),
        np.bincount(segments, p, size),
        float(right.sum()),
        float((p * (1 - p)).sum()),
        confusion,
    )


def estimate(calibration: Calibration, found: ScoreTally) -> dict[str, Interval]:
    """The metrics of counted rows by name, with intervals; empty of no row.

    A binary model has `accuracy` and, unless one class is not expected at all, `auc`; a multiclass
    one `accuracy`.
    """
    rows = int(found.rows.sum())
    if not rows:
        return {}
    shares = found.rows / rows
    held_out = float((shares**2 * calibration.variances).sum())
    metrics = {ACCURACY: Interval.around(found.right / rows, found.spread / rows**2 + held_out)}
    if calibration.task != BINARY:
        return metrics
    positive, negative = found.sums, found.rows - found.sums
    pairs = positive.sum() * negative.sum()
    if pairs > 0:
        below = np.cumsum(negative) - negative
        auc = float(positive @ (below + negative / 2) / pairs)
        known = float(calibration.rows @ calibration.probabilities)
        variance = auc_variance(auc, positive.sum(), negative.sum())
        variance += auc_variance(auc, known, float(calibration.rows.sum()) - known)
        metrics[AUC] = Interval.around(auc, variance)
    return metrics


def auc_variance(auc: float, positives: float, negatives: float) -> float:
    """Hanley and McNeil's, of so many rows of each class; 0.25, as wide as can be, of none."""
    if positives < 1 or negatives < 1:
        return 0.25
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    found = auc * (1 - auc) + (positives - 1) * (one - auc**2) + (negatives - 1) * (two - auc**2)
    return float(found / (positives * negatives))
