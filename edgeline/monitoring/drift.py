"""Is live traffic like what the model met in training? Statistics, each with its source.

All work on counts: of a numeric column in the bins of its reference, of a categorical one by
value (see `edgeline.artifacts.reference`). A column drifts where a statistic is both larger than
its threshold (it matters) and larger than chance makes it (it is real): with the number of rows a
statistic of equal distributions shrinks, and below `Thresholds.rows` nothing is judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.reference import Categories, Column, Numbers

BinCounts = npt.NDArray[np.int64]
CHANCE = 1e-4  # how often a statistic of equal distributions may pass for drift
_Z = 3.719  # of a normal distribution: P(Z > z) = CHANCE
_GROUPS = 10  # bins of the population stability index
_CATEGORIES = 20


@dataclass(frozen=True)
class Thresholds:
    """From where a difference matters, and the rows that it takes to say so.

    Attributes:
        psi: population stability index; 0.1 is commonly called a small and 0.25 a large shift.
        ks: Kolmogorov-Smirnov statistic, from 0 to 1.
        unseen: how much larger than expected the share of unseen values may be.
        missing: how much the share of missing values may differ.
        rows: live rows below which nothing is judged.
    """

    psi: float = 0.2
    ks: float = 0.15
    unseen: float = 0.05
    missing: float = 0.1
    rows: int = 500


@dataclass(frozen=True)
class Live:
    """What was counted of a column: its bins, or its listed values and the others last."""

    counts: BinCounts
    missing: int

    @property
    def rows(self) -> int:
        return int(self.counts.sum()) + self.missing


def judge(reference: Column, live: Live, limits: Thresholds) -> dict[str, object]:
    """Every statistic of a column, and the names of those that say it drifts (`drifting`)."""
    expected = counts_of(reference)
    found: dict[str, Any] = {}
    drifting = []
    first, second = int(expected.sum()), int(live.counts.sum())
    if first and second:
        if isinstance(reference, Numbers):
            groups = grouped(expected, live.counts)
            found["ks"] = ks(expected, live.counts)
            if found["ks"] > max(limits.ks, ks_chance(first, second)):
                drifting.append("ks")
        else:
            groups = ranked(expected, live.counts)
            share, usual = unseen(reference, live.counts)
            found["unseen"] = share
            noise = _Z * math.sqrt(max(usual, 1 / second) / second)
            if share - usual > max(limits.unseen, noise):
                drifting.append("unseen")
        found["psi"] = psi(*groups)
        if found["psi"] > max(limits.psi, psi_chance(first, second, len(groups[0]))):
            drifting.append("psi")
    before, now = reference.missing / max(1, reference.rows), live.missing / max(1, live.rows)
    found["missing"] = {"reference": before, "live": now}
    chance = rate_chance(reference.missing, reference.rows, live.missing, live.rows)
    if abs(now - before) > max(limits.missing, chance):
        drifting.append("missing")
    found["drifting"] = drifting if live.rows >= limits.rows else []
    return found


def histogram(reference: Column, live: Live) -> dict[str, object]:
    """Both as shares over the groups of the index, for people: of numbers `up_to` is the last value
    of each group but the last, of categories `values` are those that are listed; then all others.
    """
    expected = counts_of(reference)
    found: dict[str, object] = {}
    if isinstance(reference, Numbers):
        if not expected.sum():
            return {}
        group = _groups(expected)
        ends = np.flatnonzero(np.diff(group))
        found["up_to"] = [float(f"{reference.cuts[end]:.4g}") for end in ends]
        sides = grouped(expected, live.counts)
    else:
        found["values"] = list(reference.values)[:_CATEGORIES]
        sides = ranked(expected, live.counts)
    for name, counts in zip(("reference", "live"), sides, strict=True):
        found[name] = np.round(counts / max(counts.sum(), 1), 4).tolist()
    return found


def counts_of(reference: Column) -> BinCounts:
    """A reference's counts in the order of `Live.counts`."""
    if isinstance(reference, Numbers):
        return np.asarray(reference.counts, np.int64)
    return np.array([*reference.values.values(), reference.others], np.int64)


def psi(expected: BinCounts, found: BinCounts) -> float:
    """Population stability index of two histograms over the same bins.

    The sum of (q - p) ln(q / p) over the bins, p the share expected and q the share found
    (N. Siddiqi, Credit Risk Scorecards, 2006): the symmetric divergence J of H. Jeffreys (1946).
    Half an observation is added to each bin, so that an empty one has a finite logarithm.
    """
    p, q = ((c + 0.5) / (c.sum() + 0.5 * len(c)) for c in (expected, found))
    return float(np.sum((q - p) * np.log(q / p)))


def psi_chance(first: int, second: int, bins: int) -> float:
    """What the index of two samples of one distribution exceeds with probability `CHANCE`.

    It is distributed as (1/first + 1/second) times chi-squared with bins - 1 degrees of freedom
    (B. Yurdakul and J. Naranjo, Statistical properties of the population stability index, Journal
    of Risk Model Validation 14(4), 2020), whose quantile is that of E. Wilson and M. Hilferty,
    The distribution of chi-square, PNAS 17, 1931.
    """
    degrees = max(1, bins - 1)
    spread = 2 / (9 * degrees)
    return (1 / first + 1 / second) * degrees * (1 - spread + _Z * math.sqrt(spread)) ** 3


def ks(expected: BinCounts, found: BinCounts) -> float:
    """Two-sample Kolmogorov-Smirnov statistic: the largest distance of the distributions.

    It is taken at the ends of the bins, so it is too small by at most the share that the
    reference has in one bin of more than one value, about 1%.
    """
    p, q = (np.cumsum(c) / c.sum() for c in (expected, found))
    return float(np.max(np.abs(p - q)))


def ks_chance(first: int, second: int) -> float:
    """What the statistic of two samples of one distribution exceeds with probability `CHANCE`.

    sqrt(-ln(a / 2) / 2) sqrt((m + n) / (m n)), the first term of N. Smirnov's limit (Table for
    estimating the goodness of fit of empirical distributions, Annals of Mathematical Statistics
    19, 1948).
    """
    return math.sqrt(-math.log(CHANCE / 2) / 2 * (1 / first + 1 / second))


def unseen(reference: Categories, found: BinCounts) -> tuple[float, float]:
    """The share of values that the reference does not list, and the share to be expected.

    Expected are the reference's own unlisted values and, by I. J. Good's estimate, as many new
    ones as it has values that came once.
    """
    rows = max(1, reference.rows - reference.missing)
    usual = (reference.others + reference.singles) / rows
    return float(found[-1] / found.sum()), min(1.0, usual)


def rate_chance(first: int, of_first: int, second: int, of_second: int) -> float:
    """What the difference of two equal rates exceeds with probability `CHANCE` on each side.

    The two-proportion z-test with a pooled rate.
    """
    if not of_first or not of_second:
        return 1.0
    pooled = (first + second) / (of_first + of_second)
    return _Z * math.sqrt(pooled * (1 - pooled) * (1 / of_first + 1 / of_second))


def grouped(expected: BinCounts, found: BinCounts) -> tuple[BinCounts, BinCounts]:
    """Both histograms over about ten neighbouring groups of bins, equal in the reference."""
    group = _groups(expected)
    sums = (np.bincount(group, weights=c).astype(np.int64) for c in (expected, found))
    return next(sums), next(sums)


def _groups(expected: BinCounts) -> BinCounts:
    """The group of each bin, from 0 and ascending."""
    middle = np.cumsum(expected) - expected / 2
    group = np.minimum((middle * _GROUPS / expected.sum()).astype(np.int64), _GROUPS - 1)
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def ranked(expected: BinCounts, found: BinCounts) -> tuple[BinCounts, BinCounts]:
    """The most frequent categories one by one, and all others together."""
    head = min(len(expected) - 1, _CATEGORIES)
    pairs = (np.append(c[:head], c[head:].sum()) for c in (expected, found))
    return next(pairs), next(pairs)
