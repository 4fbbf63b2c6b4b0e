"""Permutation SHAP within a budget: what `attribute` gives in as many orders, and when it ends."""

from __future__ import annotations

import time

import numpy as np
import pytest
from test_shapley import rows_of, smooth

from edgeline.runtimes import shapley, shapley_rounds
from edgeline.runtimes.shapley_rounds import BudgetedAsking, OutOfTimeError, UnwantedError

TARGETS = np.array([0, 1, 1])
NEVER = float("inf")


def estimate(model, rows, targets, background, evaluations, until, unwanted=lambda: False):
    """Within a budget of which a part asks the rows themselves first, as the server does."""
    asking = BudgetedAsking(evaluations, until, unwanted)
    scores = np.concatenate(asking(model, rows))
    own = scores[np.arange(len(targets)), targets]
    return shapley_rounds.estimate(asking, model, rows, own, targets, background)


def test_a_round_is_what_attribute_gives_by_that_seed():
    rows, background = rows_of(3), rows_of(12, seed=2)
    per_round = 3 * 12 * shapley.answers_of_an_order(4)
    for rounds in (1, 2, 5):
        budget = 12 + 3 + rounds * per_round
        found = estimate(smooth, rows, TARGETS, background, budget, NEVER)
        orders = 12 * shapley.answers_of_an_order(4)
        each = [
            shapley.attribute(
                [smooth], rows, np.zeros(3, np.int64), TARGETS, background, seed, NEVER, orders
            )
            for seed in range(rounds)
        ]
        wanted = np.mean([one.values for one in each], axis=0)
        np.testing.assert_allclose(found.values, wanted, atol=1e-12)
        np.testing.assert_allclose(found.base, each[0].base, atol=1e-12)
        np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.score, atol=1e-12)
        assert (found.orders, found.background_rows) == (12 * rounds, 12)
        assert found.asked <= budget


def test_a_row_is_explained_alike_whoever_is_asked_beside_it():
    rows, background = rows_of(3), rows_of(6, seed=2)
    one = {name: array[1:2] for name, array in rows.items()}
    alone = estimate(smooth, one, TARGETS[1:2], background, 6 + 1 + 2 * 36, NEVER)
    beside = estimate(smooth, rows, TARGETS, background, 6 + 3 + 2 * 3 * 36, NEVER)
    assert alone.orders == beside.orders == 12
    np.testing.assert_allclose(alone.values[0], beside.values[1], atol=1e-12)


def test_a_small_budget_uses_some_background_rows_and_keeps_to_it():
    rows, background = rows_of(3), rows_of(12, seed=2)
    least = shapley_rounds.least_evaluations(3, 4, 12)
    found = estimate(smooth, rows, TARGETS, background, least, NEVER)
    assert (found.orders, found.background_rows) == (1, 1)
    assert np.isnan(found.errors).all()
    assert found.asked <= least
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.score, atol=1e-12)
    found = estimate(smooth, rows, TARGETS, background, 2 * least, NEVER)
    assert 1 < found.background_rows < 12
    assert np.isfinite(found.errors).all()


def test_the_error_is_about_what_other_background_rows_change():
    row, target = rows_of(1, seed=5), np.array([1])
    found = [
        estimate(smooth, row, target, rows_of(30, seed=seed), 2000, NEVER) for seed in range(40)
    ]
    spread = np.std([each.values[0] for each in found], axis=0)
    told = np.mean([each.errors[0] for each in found], axis=0)
    np.testing.assert_allclose(told, spread, rtol=0.35)


def test_what_is_begun_when_time_is_over_is_dropped(monkeypatch):
    rows, background = rows_of(3), rows_of(12, seed=2)
    round_ = estimate(smooth, rows, TARGETS, background, 12 + 219, NEVER)
    assert round_.orders == 12
    asked = []
    monkeypatch.setattr(shapley_rounds, "monotonic", lambda: 100.0 * (sum(asked) >= most))

    def model(rows):
        asked.append(len(rows["a"]))
        return smooth(rows)

    most = round_.asked + 3  # in the second round
    found = estimate(model, rows, TARGETS, background, 100_000, 50.0)
    np.testing.assert_array_equal(found.values, round_.values)
    asked, most = [], 12 + 3
    with pytest.raises(OutOfTimeError):
        estimate(model, rows, TARGETS, background, 100_000, 50.0)


def test_a_slow_model_is_asked_a_few_rows_at_once_and_a_quick_one_many(monkeypatch):
    rows, background = rows_of(3), rows_of(200, seed=2)
    spent, asked = [0.0], []
    monkeypatch.setattr(shapley_rounds, "process_time", lambda: spent[0])

    def model(rows):
        asked.append(len(rows["a"]))
        spent[0] += seconds * len(rows["a"])
        return smooth(rows)

    seconds = 1.0
    estimate(model, rows, TARGETS, background, 900, NEVER)
    assert asked[:3] == [3, 2, 1]
    assert set(asked[3:]) == {1}
    asked, seconds = [], 1e-6
    estimate(model, rows, TARGETS, background, 100_000, NEVER)
    assert max(asked) == shapley_rounds.AT_ONCE


def test_nothing_more_is_asked_once_nobody_waits():
    asked = []

    def model(rows):
        asked.append(len(rows["a"]))
        return smooth(rows)

    with pytest.raises(UnwantedError):
        estimate(
            *(model, rows_of(3), TARGETS, rows_of(12, seed=2), 10**6, time.monotonic() + 60),
            unwanted=lambda: len(asked) >= 2,
        )
    assert len(asked) == 2
