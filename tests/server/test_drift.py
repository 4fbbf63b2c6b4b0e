"""Drift statistics against scipy and formulas written out on raw values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeline.artifacts import reference
from edgeline.artifacts.reference import Categories, Numbers
from edgeline.monitoring import drift
from edgeline.monitoring.drift import Live, Thresholds, judge

RNG = np.random.default_rng(11)
LIMITS = Thresholds()


def numbers(values) -> Numbers:
    builder = reference.Builder()
    builder.add({"x": np.asarray(values, "f8")[:, None]}, {"y": np.zeros((len(values), 1))})
    found = builder.result().inputs["x"]
    assert isinstance(found, Numbers)
    return found


def live(column: Numbers, values) -> Live:
    return Live(reference.bins(np.asarray(values, "f8"), column.cuts), 0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (RNG.normal(0, 1, 5000), RNG.normal(0, 1, 3000)),
        (RNG.normal(0, 1, 5000), RNG.normal(0.5, 1, 3000)),
        (RNG.gamma(2, 6, 5000), 2 * RNG.gamma(2, 6, 1000)),
        (np.round(RNG.gamma(2, 6, 5000), 1), np.round(RNG.gamma(2, 7, 2000), 1)),
        (np.where(RNG.random(5000) < 0.4, 0, RNG.gamma(2, 6, 5000)), RNG.gamma(2, 6, 900)),
        (RNG.normal(0, 1, 5000), np.full(800, 99.0)),
    ],
)
def test_kolmogorov_smirnov_is_scipys(first, second):
    from scipy import stats

    column = numbers(first)
    found = drift.ks(column.counts, live(column, second).counts)
    exact = stats.ks_2samp(first, second).statistic
    assert exact - 0.0105 <= found <= exact + 1e-12


def test_population_stability_index_is_the_formula_on_deciles():
    from scipy import stats

    first, second = RNG.normal(0, 1, 20_000), RNG.normal(0.4, 1.2, 20_000)
    edges = np.quantile(first, np.linspace(0, 1, 11)[1:-1])
    p, q = (np.bincount(np.searchsorted(edges, v), minlength=10) / len(v) for v in (first, second))
    wanted = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    column = numbers(first)
    found = drift.psi(*drift.grouped(column.counts, live(column, second).counts))
    assert found == pytest.approx(wanted, rel=0.02)
    # and by scipy: Jeffreys' divergence is relative entropy both ways
    assert found == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), rel=0.02)


def test_what_chance_makes_is_as_large_as_said():
    from scipy import stats

    indices, distances = [], []
    first = RNG.normal(0, 1, 4000)
    column = numbers(first)
    for _ in range(400):
        counts = live(column, RNG.normal(0, 1, 500)).counts
        indices.append(drift.psi(*drift.grouped(column.counts, counts)))
        distances.append(drift.ks(column.counts, counts))
    assert max(indices) < drift.psi_chance(4000, 500, 10)
    assert max(distances) < drift.ks_chance(4000, 500)
    wanted = stats.chi2.ppf(1 - drift.CHANCE, 9) * (1 / 4000 + 1 / 500)
    assert drift.psi_chance(4000, 500, 10) == pytest.approx(wanted, rel=0.02)
    assert drift.ks_chance(4000, 500) == pytest.approx(
        stats.kstwobign.isf(drift.CHANCE) * math.sqrt(1 / 4000 + 1 / 500), rel=0.01
    )


def test_rates_by_the_z_test():
    from scipy import stats

    pooled = 30 / 1500
    wanted = stats.norm.isf(drift.CHANCE) * math.sqrt(pooled * (1 - pooled) * (1 / 1000 + 1 / 500))
    assert drift.rate_chance(10, 1000, 20, 500) == pytest.approx(wanted, rel=1e-3)


def test_judgements():
    column = numbers(RNG.gamma(2, 6, 5000))
    same, other = RNG.gamma(2, 6, 1000), 2 * RNG.gamma(2, 6, 1000)
    assert judge(column, live(column, same), LIMITS)["drifting"] == []
    assert judge(column, live(column, other), LIMITS)["drifting"] == ["ks", "psi"]
    assert judge(column, live(column, other[:100]), LIMITS)["drifting"] == []  # too few to say
    half = Live(live(column, same).counts, 1000)
    assert judge(column, half, LIMITS)["drifting"] == ["missing"]
    assert judge(column, Live(np.zeros_like(column.counts), 0), LIMITS)["drifting"] == []


def test_unseen_categories_beyond_what_is_usual():
    known = Categories({"a": 600, "b": 380}, others=0, singles=20, missing=0)
    counts = np.array([590, 390, 20])
    assert judge(known, Live(counts, 0), LIMITS)["drifting"] == []
    assert "unseen" in judge(known, Live(np.array([500, 300, 200]), 0), LIMITS)["drifting"]
    # of an id, whose values are always new, nothing is said
    ids = Categories({f"id{i}": 1 for i in range(200)}, others=800, singles=1000, missing=0)
    assert judge(ids, Live(np.append(np.zeros(200, int), 1000), 0), LIMITS)["drifting"] == []


def test_histograms_are_shares_over_the_groups_of_the_index():
    column = numbers(np.arange(1000) / 10)
    found = drift.histogram(column, live(column, np.full(50, 95.0)))
    assert len(found["up_to"]) == 9 and found["up_to"] == sorted(found["up_to"])
    assert found["up_to"][0] == pytest.approx(10, abs=1)
    assert found["reference"] == pytest.approx([0.1] * 10, abs=0.02)
    assert found["live"] == [0] * 9 + [1]
    words = Categories({"a": 6, "b": 3}, 1, 1, 0)
    found = drift.histogram(words, Live(np.array([0, 1, 3]), 0))
    assert found == {"values": ["a", "b"], "reference": [0.6, 0.3, 0.1], "live": [0, 0.25, 0.75]}
    assert drift.histogram(words, Live(np.zeros(3, np.int64), 0))["live"] == [0, 0, 0]
