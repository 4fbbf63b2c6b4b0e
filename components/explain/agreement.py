"""Whether two explanations of a row agree: Spearman's rank correlation over its features.

C. Spearman, "The Proof and Measurement of Association between Two Things", 1904: Pearson's
correlation of the ranks, equal values sharing the mean of theirs. What differs by less than
`NOISE` of the row's largest value counts as equal: the order of features that add nothing is the
rounding of numbers, and no explanation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NOISE = 1e-3
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
PAIRS = 1 << 22  # of values that are compared at once

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """The rank correlations of some rows.

    Attributes:
        between: the two that are compared, in words.
        rows: how many are compared.
        median: of the correlations; 1 where they agree, 0 where they have nothing in common.
        mean: of them.
        quantiles: those of `QUANTILES`.
        low: the share of rows below 0.5.
    """

    between: str
    rows: int
    median: float
    mean: float
    quantiles: tuple[float, ...]
    low: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "quantiles": list(self.quantiles)}


def agreement(between: str, correlations: Floats) -> Agreement:
    """What the correlations of some rows, at least one, are like."""
    quantiles = np.quantile(correlations, QUANTILES)
    return Agreement(
        between,
        len(correlations),
        float(np.median(correlations)),
        float(correlations.mean()),
        tuple(map(float, quantiles)),
        float((correlations < 0.5).mean()),
    )


def spearman(first: Floats, second: Floats) -> Floats:
    """The rank correlation of each row of two arrays [rows, features]: float64 [rows].

    Of two rows in which all features are equal it is 1, where only one is so it is 0.
    """
    one, two = ranks(_rounded(first)), ranks(_rounded(second))
    one, two = one - one.mean(axis=1, keepdims=True), two - two.mean(axis=1, keepdims=True)
    lengths = np.sqrt((one**2).sum(axis=1)), np.sqrt((two**2).sum(axis=1))
    known = (lengths[0] > 0) & (lengths[1] > 0)
    found = np.where((lengths[0] == 0) & (lengths[1] == 0), 1.0, 0.0)
    products = (one * two).sum(axis=1)
    found[known] = np.clip(products[known] / (lengths[0] * lengths[1])[known], -1, 1)
    return found


def ranks(values: Floats) -> Floats:
    """Ranks within each row of [rows, features], from 1; equal values have the mean of theirs."""
    found = np.empty(values.shape)
    step = max(1, PAIRS // max(values.shape[1] ** 2, 1))
    for start in range(0, len(values), step):
        some = values[start : start + step]
        below = (some[:, None, :] < some[:, :, None]).sum(axis=2)
        equal = (some[:, None, :] == some[:, :, None]).sum(axis=2)
        found[start : start + step] = below + (equal + 1) / 2
    return found


def _rounded(values: Floats) -> Floats:
    unit = NOISE * np.abs(values).max(axis=1, keepdims=True, initial=0)
    return np.asarray(np.rint(values / np.where(unit > 0, unit, 1)))
