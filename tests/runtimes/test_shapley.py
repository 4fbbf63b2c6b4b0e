"""Permutation SHAP against values that are known by hand, on models that are a line of numpy."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from edgeline.errors import EdgelineError
from edgeline.runtimes import shapley

NAN = float("nan")


def rows_of(count, seed=1):
    random = np.random.default_rng(seed)
    return {
        "a": random.normal(size=(count, 1)).astype(np.float32),
        "b": random.normal(size=(count, 3)).astype(np.float32),
        "hour": random.integers(0, 4, (count, 1)),
        "word": random.choice([b"cash", b"card", b""], (count, 1)).astype(object),
    }


def smooth(rows):
    """With interactions of two and three features."""
    word = np.array([{b"cash": 1.0, b"card": -0.5, b"": 0.0}[w] for w in rows["word"][:, 0]])
    a, b, hour = rows["a"][:, 0], rows["b"].sum(axis=1), rows["hour"][:, 0] / 4
    return np.stack([a * b + word, np.tanh(a + b * word) * hour], axis=1).astype(np.float64)


def attribute(rows, targets, background, model=smooth, **options):
    count = len(targets)
    return shapley.attribute([model], rows, np.arange(count), targets, background, **options)


def exact(model, row, target, background):
    """Shapley's formula over all coalitions, whose other features come from each background row."""
    names, count = list(row), len(next(iter(background.values())))
    worth = {}
    for size in range(len(names) + 1):
        for inside in itertools.combinations(names, size):
            mixed = {
                name: np.repeat(row[name], count, axis=0) if name in inside else background[name]
                for name in names
            }
            worth[frozenset(inside)] = model(mixed)[:, target].mean()
    found = []
    for name in names:
        others, value = [each for each in names if each != name], 0.0
        for size in range(len(others) + 1):
            weight = math.factorial(size) * math.factorial(len(names) - size - 1)
            for inside in map(frozenset, itertools.combinations(others, size)):
                value += weight * (worth[inside | {name}] - worth[inside])
        found.append(value / math.factorial(len(names)))
    return found


def test_the_values_are_shapley_s_and_add_up_to_the_score():
    rows, background, targets = rows_of(6), rows_of(40, seed=2), np.array([0, 1, 0, 1, 0, 1])
    found = attribute(rows, targets, background)
    scores = smooth(rows)[np.arange(6), targets]
    assert found.done.all()
    np.testing.assert_allclose(found.score, scores)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), scores, atol=1e-12)
    np.testing.assert_allclose(found.base, smooth(background).mean(axis=0)[targets])
    for at in range(6):
        row = {name: array[at : at + 1] for name, array in rows.items()}
        wanted = exact(smooth, row, targets[at], background)
        # interactions of two are exact in each order and its reverse, those of three are estimated
        tolerance = 1e-9 if targets[at] == 0 else 0.06
        np.testing.assert_allclose(found.values[at], wanted, atol=tolerance)


def test_a_row_is_explained_alike_among_any_others_and_by_any_number_of_threads(monkeypatch):
    rows, background, targets = rows_of(30), rows_of(9, seed=2), np.ones(30, np.int64)
    whole = attribute(rows, targets, background, seed=7)
    monkeypatch.setattr(shapley, "AT_ONCE", 64)
    some = np.array([3, 17, 29])
    few = {name: array[some] for name, array in rows.items()}
    found = shapley.attribute([smooth] * 3, few, some, targets[some], background, seed=7)
    np.testing.assert_array_equal(found.values, whole.values[some])
    other = attribute(rows, targets, background, seed=8)
    assert not np.array_equal(other.values, whole.values)


def test_what_is_equal_in_both_rows_adds_nothing_and_is_not_asked():
    asked = []

    def counting(rows):
        asked.append(len(rows["a"]))
        return smooth(rows)

    background = rows_of(8, seed=2)
    same = {name: array[:1].copy() for name, array in background.items()}
    only = {name: array[:1] for name, array in background.items()}
    found = attribute(same, np.array([1]), only, counting)
    np.testing.assert_array_equal(found.values, np.zeros((1, 4)))
    assert asked == [1, 1]  # the background and the row


def test_missing_values_are_equal_to_each_other():
    rows = {"a": np.array([[NAN], [1.0]], np.float32), "b": np.array([[NAN], [NAN]], np.float32)}

    def model(given):
        return np.nan_to_num(given["a"] * 2.0) + np.isnan(given["b"])

    found = attribute(rows, np.zeros(2, np.int64), {n: a[:1] for n, a in rows.items()}, model)
    np.testing.assert_allclose(found.values, [[0, 0], [2, 0]])


def test_when_the_time_is_over_the_rows_that_are_done_are_spread_over_all(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(shapley, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    rows, background = rows_of(64), rows_of(10, seed=2)
    for together in (1, 400):  # rows at a time
        monkeypatch.setattr(shapley, "AT_ONCE", together)
        options = {"evaluations": 60, "until": next(clock) + 5}
        found = attribute(rows, np.ones(64, np.int64), background, **options)
        done = np.flatnonzero(found.done)
        assert 5 <= len(done) < 64
        assert done[0] == 0 and done[-1] > 40 and np.diff(done).max() < 32
        assert np.isnan(found.values[~found.done]).all()
        assert np.isfinite(found.values[found.done]).all()
    over = attribute(rows, np.ones(64, np.int64), background, until=-1)
    assert over.done[0]  # some row always is


def test_many_features_take_fewer_background_rows_and_still_add_up():
    random = np.random.default_rng(3)
    names = [f"x{at}" for at in range(300)]
    rows = {name: random.normal(size=(2, 1)) for name in names}
    background = {name: random.normal(size=(50, 1)) for name in names}

    def model(given):
        return np.stack([given[name][:, 0] for name in names]).T @ np.arange(300.0)[:, None]

    found = attribute(rows, np.zeros(2, np.int64), background, model)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.score)


def test_a_model_that_answers_no_number_is_refused():
    def model(rows):
        return np.where(rows["a"] > 0, np.nan, rows["a"]).astype(np.float64)

    rows = {"a": np.array([[-1.0]]), "b": np.array([[1.0]])}
    background = {"a": np.array([[1.0]]), "b": np.array([[2.0]])}
    with pytest.raises(EdgelineError, match=r"answers \[nan\] .* finite numbers"):
        attribute(rows, np.zeros(1, np.int64), background, model)


def test_what_one_thread_is_refused_ends_all():
    def refuses(rows):
        if len(rows["a"]) == 9:  # the background
            return smooth(rows)
        raise EdgelineError("Instance 0 (from 0): no.")

    rows, background, numbers = rows_of(40), rows_of(9, seed=2), np.arange(40)
    with pytest.raises(EdgelineError, match="no"):
        shapley.attribute([refuses] * 2, rows, numbers, np.zeros(40, np.int64), background)
