"""Do labels still come about as they did? A sequential test of labelled rows, one after the other.

Each labelled row is a bet. Its calibrated score says with what probability its decision is right;
the null hypothesis is that the decisions are right at least so often, less a margin that does not
matter. Against it stand alternatives whose odds of being right are lower by the factors exp(-t) of
`TILTS`; a row's likelihood ratio L under one of them is at most 1 in expectation where the null
hypothesis holds, whatever came before. Since the change may begin at any row, the test is the
Shiryaev-Roberts sum, which begins anew every `STARTS` rows,

    R(n) = (R(n - 1) + [a start at n]) L(n),

averaged over the alternatives (an e-detector: J. Shin, A. Ramdas and A. Rinaldo, E-detectors: a
nonparametric framework for sequential change detection, New England Journal of Statistics in Data
Science 2, 2024; M. Pollak, Annals of Statistics 13, 1985). R(n) less the number of starts is a
supermartingale, so by Doob's inequality, R is `LIMIT` or more anywhere in the first N rows with a
probability of at most (N / STARTS) / LIMIT: a false alarm in 10,000 labelled rows has at most the
probability `CHANCE`, 1e-4.

Covariate shift gives no alarm, as the probability of a row follows its score, but in so far as the
map from scores to probabilities is known. Each probability is made of few held-out rows, and the
fewer of them a shift leaves in play, the less their errors cancel. So the margin is at least
`DEVIATIONS` standard deviations of the map's mean over the scores of the last `MIX` labelled rows
(`MapMargin`); `CHANCE` is meant given that the map is no farther off than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from edgeline.artifacts.calibration import BINARY, Calibration
from edgeline.formats.dtypes import Array

CHANCE, PER_ROWS = 1e-4, 10_000
STARTS = 100  # rows between two starts
LIMIT = PER_ROWS / STARTS / CHANCE
TILTS = (0.4, 0.8, 1.6)
MIX = 500  # labelled rows whose scores tell how certain the map is of them
DEVIATIONS = 4.0  # of a normal error, one in 30,000 is larger
_LEAST = 1e-3  # probability of a right decision that is bet on
_HUGE = 1e30  # beyond it nothing is learnt


def expected(calibration: Calibration, scores: Array, decided: Array) -> Array:
    """With what probability each decision is right, [rows], as the map says.

    Args:
        scores: as the map takes them, [rows].
        decided: of a binary model whether the decision is yes, [rows]; of others it is not read.
    """
    p = calibration(scores)
    return np.where(np.asarray(decided, bool), p, 1 - p) if calibration.task == BINARY else p


class MapMargin:
    """How much less often than the map says decisions may be right, row after row.

    Attributes:
        now: of the last row.
    """

    def __init__(self, calibration: Calibration, least: float) -> None:
        """`least` is the margin of a map that is certain."""
        self._calibration, self._least, self.now = calibration, least, least
        self._variances = calibration.variances
        self._recent = np.zeros(0, np.int64)  # the segments of the last rows

    def add(self, scores: Array) -> Array:
        """The margins of further rows by their scores, [rows]: one for each `STARTS` of them."""
        segments = self._calibration.segments(scores)
        found = np.empty(len(segments))
        for first in range(0, len(segments), STARTS):
            block = segments[first : first + STARTS]
            self._recent = np.concatenate([self._recent, block])[-MIX:]
            shares = np.bincount(self._recent, minlength=len(self._variances)) / len(self._recent)
            certain = math.sqrt(float((shares**2 * self._variances).sum()))
            self.now = max(self._least, DEVIATIONS * certain)
            found[first : first + STARTS] = self.now
        return found


@dataclass
class ConceptTest:
    """The test of one version's labelled rows.

    Attributes:
        rows: labelled rows that were looked at since the last alarm was lifted.
        alarm: at which of them the alarm came; 0 for none.
    """

    rows: int = 0
    alarm: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * len(TILTS))

    @property
    def evidence(self) -> float:
        """R, the mean over the alternatives; from `LIMIT` on it is an alarm."""
        return sum(self.sums) / len(self.sums)

    def add(self, least: Array, right: Array) -> bool:
        """Look at rows in their order; whether the alarm came with one of them.

        Args:
            least: with what probability each decision is right at least, [rows].
            right: whether it is, bool [rows].
        """
        before = self.alarm
        null = np.clip(np.asarray(least, np.float64), _LEAST, 1 - _LEAST)
        lowered = null[:, None] / (null[:, None] + (1 - null[:, None]) * np.exp(TILTS))
        factors = np.where(
            np.asarray(right, bool)[:, None],
            lowered / null[:, None],
            (1 - lowered) / (1 - null[:, None]),
        )
        sums, done = np.array(self.sums), 0
        while done < len(factors):
            into = self.rows % STARTS
            block = factors[done : done + STARTS - into]  # no start but at its first row
            steps = (sums + (into == 0)) * np.cumprod(block, axis=0)
            sums = np.minimum(steps[-1], _HUGE)
            over = np.flatnonzero(steps.mean(axis=1) >= LIMIT)
            if len(over) and not self.alarm:
                self.alarm = self.rows + int(over[0]) + 1
            self.rows += len(block)
            done += len(block)
        self.sums = sums.tolist()
        return self.alarm > before

    def lift(self) -> None:
        """Begin anew, without an alarm."""
        self.rows = self.alarm = 0
        self.sums = [0.0] * len(TILTS)

    def to_json(self) -> dict[str, object]:
        found = self.evidence
        return {
            "labelled_rows": self.rows,
            "alarm_at_row": self.alarm or None,
            "evidence": round(math.log10(found), 3) if found else None,
            "evidence_needed": round(math.log10(LIMIT), 3),
        }
