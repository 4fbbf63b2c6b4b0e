"""A bundle's calibration as the sigmoid that TFLite Metadata has room for.

`calibration.json` is a map in steps (see `edgeline.artifacts.calibration`), TFLite Metadata knows
1 / (1 + exp(-(slope * logit(score) + offset))). Its two numbers are fitted to the held-out rows of
the steps by maximum likelihood with Platt's targets (J. Platt, Probabilistic outputs for support
vector machines, 1999; Newton's method as in H.-T. Lin, C.-J. Lin and R. Weng, A note on Platt's
probabilistic outputs for support vector machines, Machine Learning 68, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeline.artifacts.calibration import Calibration
from edgeline.formats.dtypes import Array

_LEAST = 1e-6  # of a score's distance to 0 and 1, whose logits are not finite
_ROUNDS, _CLOSE = 100, 1e-10
_FLAT = 0.05  # of a slope, below which 32 bits no longer tell classes apart
_RIDGE = 1e-9  # keeps the curvature invertible where all scores are equal


@dataclass(frozen=True)
class ScoreSigmoid:
    """The fitted sigmoid, and how far scores are from how often they are right.

    Attributes:
        before: mean distance of the model's scores over the held-out rows.
        after: the same of what the sigmoid makes of them.
        rows: held-out rows.
        shares: whether the scores lie within 0 and 1, as those of a sigmoid's argument have to.
    """

    slope: float
    offset: float
    before: float
    after: float
    rows: int
    shares: bool

    @property
    def useful(self) -> bool:
        """Whether it keeps the order of scores and brings them nearer."""
        return self.shares and self.slope > _FLAT and self.after < self.before

    def lines(self, classes: int) -> bytes:
        """The associated file: scale, slope and offset, the same for each class."""
        line = f"1,{self.slope:.7g},{self.offset:.7g}"
        return "\n".join([line] * classes).encode()  # MediaPipe takes a last \n for one more class


def fit(calibration: Calibration) -> ScoreSigmoid:
    """The sigmoid nearest to a calibration's rows."""
    # a step's rows lie between its ends: half of them at each
    scores = np.concatenate([calibration.lows, calibration.highs])
    p = np.tile(calibration.probabilities, 2)
    rows = np.tile(calibration.rows / 2, 2)
    clipped = np.clip(scores, _LEAST, 1 - _LEAST)
    logits = np.log(clipped) - np.log1p(-clipped)
    slope, offset = _newton(logits, _targets(p, rows), rows)
    total = rows.sum()

    def distance(values: Array) -> float:
        return float((rows * np.abs(values - p)).sum() / total)

    made = _sigmoid(slope * logits + offset)
    shares = bool(scores.min() >= 0 and scores.max() <= 1)
    return ScoreSigmoid(slope, offset, distance(scores), distance(made), round(total), shares)


def _targets(p: Array, rows: Array) -> Array:
    """What each row is fitted to: not quite 1 and 0, as few rows prove neither."""
    right = (p * rows).sum()
    wrong = rows.sum() - right
    return np.asarray(p * (right + 1) / (right + 2) + (1 - p) / (wrong + 2))


def _newton(logits: Array, targets: Array, rows: Array) -> tuple[float, float]:
    found = np.array([1.0, 0.0])
    design = np.column_stack([logits, np.ones_like(logits)])

    def loss(parameters: Array) -> float:
        z = design @ parameters
        return float((rows * (np.logaddexp(0, z) - targets * z)).sum())

    now = loss(found)
    for _ in range(_ROUNDS):
        p = _sigmoid(design @ found)
        gradient = design.T @ (rows * (p - targets))
        curvature = (design.T * (rows * p * (1 - p))) @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > _CLOSE and not loss(found - size * step) < now:
            size /= 2
        if size <= _CLOSE:
            break
        found = found - size * step
        now = loss(found)
    return float(found[0]), float(found[1])


def _sigmoid(z: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))
