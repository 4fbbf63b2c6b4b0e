"""Calibration maps: isotonic regression, its file, and what is estimated with it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgeline.artifacts import calibration
from edgeline.artifacts.calibration import BINARY, MULTICLASS, CalibrationRows
from edgeline.errors import EdgelineError
from edgeline.runtimes import concept
from edgeline.runtimes.concept import ConceptTest, MapMargin
from edgeline.runtimes.estimated import estimate, none_of, tally
from edgeline.runtimes.measured import measure

RANDOM = np.random.default_rng(7)


def fitted(rows: int = 6000) -> calibration.Calibration:
    scores = RANDOM.random(rows).astype("f4")
    return calibration.fit(BINARY, scores, RANDOM.random(rows) < scores**2, {"accuracy": 0.8})


def test_the_steps_are_the_best_rising_ones():
    """By the definition of isotonic regression: the minimum over all rising functions, found by
    the minimax formula over every pair of places (Robertson, Wright and Dykstra, 1988)."""
    scores = np.round(RANDOM.random(60), 1)
    truth = RANDOM.random(60) < scores
    found = calibration.fit(BINARY, scores, truth, {})
    places = np.unique(scores)

    def mean(first: float, last: float) -> float:
        return float(truth[(scores >= first) & (scores <= last)].mean())

    for place in places:
        wanted = max(
            min(mean(first, last) for last in places[places >= place])
            for first in places[places <= place]
        )
        assert found(np.array([place]))[0] == pytest.approx(wanted)
    assert found(scores).mean() == pytest.approx(truth.mean())
    assert found(np.array([-9.0, 9.0, np.nan])) == pytest.approx(
        [found.probabilities[0], found.probabilities[-1], found.probabilities[0]]
    )


def test_a_map_is_the_same_read_back_and_small(tmp_path):
    many = calibration.fit(BINARY, np.arange(2000.0), np.linspace(0, 1, 2000) ** 2, {"auc": 0.9})
    assert len(many.rows) == calibration.MOST_STEPS
    data = calibration.dumps(many)
    assert len(data) < 40_000
    (tmp_path / calibration.FILE).write_bytes(data)
    assert calibration.dumps(calibration.read(tmp_path / calibration.FILE)) == data


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"edgeline_calibration": "calibration/v9"}, "of format 'calibration/v9'"),
        ({"task": "regression"}, "has no scores"),
        ({"rows": [1]}, "in each list"),
        ({"rows": [0, 5]}, "cannot be"),
        ({"probabilities": [0.5, 0.4]}, "do not rise"),
        ({"probabilities": [0.5, 1.5]}, "do not rise"),
        ({"highs": [0.9, 1.0]}, "do not rise"),
        ({"lows": [0.3, 0.8]}, "no finite beginning"),
        ({"metrics": {"accuracy": 7.0}}, "beyond 0 and 1"),
    ],
)
def test_a_file_that_cannot_be_is_refused_by_name(tmp_path, changed, said):
    made = calibration.fit(BINARY, np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 1, 1, 1]), {})
    value = {**made.to_json(), "lows": [0.1, 0.8], "highs": [0.2, 0.9]}
    value |= {"probabilities": [0.5, 1.0], "rows": [2, 2]}
    file = tmp_path / calibration.FILE
    file.write_text(json.dumps(value))
    calibration.read(file)
    file.write_text(json.dumps(value | changed))
    with pytest.raises(EdgelineError, match=said) as refused:
        calibration.read(file)
    assert str(file) in str(refused.value)


def test_held_out_rows_of_each_task():
    scores = RANDOM.random((500, 1)).astype("f4")
    label = (RANDOM.random(500) < scores[:, 0]).astype(float)
    label[:3] = np.nan
    binary = CalibrationRows(BINARY, 500)
    for first in range(0, 500, 130):
        binary.add(scores[first : first + 130], label[first : first + 130])
    found = binary.result({"accuracy": 0.7, "auc": None, "mean_squared_error": 1.0})
    assert (found.rows.sum(), found.metrics) == (497, {"accuracy": 0.7})
    classes = RANDOM.dirichlet(np.ones(4), 500)
    several = CalibrationRows(MULTICLASS, 500)
    several.add(classes, np.where(np.arange(500) % 4, classes.argmax(axis=1), 0))
    right = np.where(np.arange(500) % 4, True, classes.argmax(axis=1) == 0)
    found = several.result({})
    assert found(classes.max(axis=1)).mean() == pytest.approx(right.mean(), abs=1e-6)
    few, none = CalibrationRows(BINARY, 99), CalibrationRows("regression", 500)
    few.add(scores[:99], np.ones(99))
    none.add(scores, label)
    assert few.result({}) is none.result({}) is None


def test_estimates_are_those_of_every_row_and_intervals_hold_the_truth():
    """Against sums over rows and over pairs of rows; and 95 % of intervals hold what came true."""
    held, inside = fitted(), {"accuracy": 0, "auc": 0}
    for _ in range(100):
        scores = RANDOM.beta(2, 3, 1000)
        found = estimate(held, tally(held, scores, scores > 0.5))
        truth = RANDOM.random(1000) < scores**2
        told = measure(BINARY, scores, scores > 0.5, truth.astype(float))
        for name in inside:
            inside[name] += found[name].low <= told[name].value <= found[name].high
    assert min(inside.values()) >= 85
    p = held(scores)
    right = np.where(scores > 0.5, p, 1 - p)
    assert found["accuracy"].value == pytest.approx(right.mean())
    above = (scores[:, None] > scores).astype(float) + (scores[:, None] == scores) / 2
    pairs = np.outer(p, 1 - p)
    assert found["auc"].value == pytest.approx((above * pairs).sum() / pairs.sum(), abs=1e-3)
    parts = (tally(held, part, part > 0.5) for part in np.split(scores, 4))
    together = estimate(held, sum(parts, none_of(held)))
    assert together["accuracy"].value == pytest.approx(found["accuracy"].value)
    assert estimate(held, none_of(held)) == {}


def test_false_alarms_are_as_rare_as_the_bound_says(monkeypatch):
    """At a bound that a simulation can reach: 1 in 20 for 1,000 labelled rows, at the very edge of
    the null hypothesis. The real one follows from the same inequality."""
    monkeypatch.setattr(concept, "LIMIT", 1000 / concept.STARTS / 0.05)
    alarms = 0
    for _ in range(1000):
        test = ConceptTest()
        expected = RANDOM.uniform(0.55, 1, 1000)
        alarms += test.add(expected, RANDOM.random(1000) < expected)
    assert alarms <= 70
    assert concept.LIMIT == 200


def test_an_alarm_comes_soon_and_pieces_are_as_one():
    delays = []
    for _ in range(20):
        expected = RANDOM.uniform(0.6, 1, 2000)
        right = RANDOM.random(2000) < expected
        expected -= 0.02
        right[1000:] ^= RANDOM.random(1000) < 0.3
        test, pieces = ConceptTest(), ConceptTest()
        test.add(expected[:1000], right[:1000])
        for first in range(0, 1000, 37):
            last = min(first + 37, 1000)
            pieces.add(expected[first:last], right[first:last])
        assert pieces.evidence == pytest.approx(test.evidence)
        test.add(expected[1000:], right[1000:])
        delays.append(test.alarm - 1000)
    assert 0 < min(delays) <= max(delays) <= 500
    test.lift()
    assert test.to_json()["alarm_at_row"] is None


@pytest.mark.parametrize("held_out", [1000, 2500])
@pytest.mark.parametrize("shift", [0.0, 1.5, 3.0])
def test_a_covariate_shift_is_no_alarm_by_a_map_of_few_rows(held_out, shift):
    """Labels follow the same law, where the inputs move to a few steps of a fitted map."""
    random = np.random.default_rng(held_out)

    def drawn(rows: int, at: float, wide: float) -> tuple[np.ndarray, np.ndarray]:
        scores = 1 / (1 + np.exp(-random.normal(at, wide, rows)))
        return scores.astype("f4"), random.random(rows) < scores

    alarms = 0
    for _ in range(10):
        made = calibration.fit(BINARY, *drawn(held_out, 0.0, 2.0), {})
        test, margin = ConceptTest(), MapMargin(made, 0.02)
        for at in (0.0, shift):  # the test has seen usual rows before
            scores, truth = drawn(5000, at, 1.0 if at else 2.0)
            decided = scores > 0.5
            least = concept.expected(made, scores, decided) - margin.add(scores)
            test.add(least, decided == truth)
        alarms += bool(test.alarm)
    assert alarms == 0


def test_the_margin_is_as_wide_as_the_map_is_uncertain_where_rows_come():
    made = fitted(1000)
    margin = MapMargin(made, 0.02)
    many = margin.add(RANDOM.random(1000).astype("f4"))
    few = margin.add(np.full(600, 0.5, "f4"))  # one step alone
    (variance,) = made.variances[made.segments(np.array([0.5]))]
    assert few[-1] == pytest.approx(4 * variance**0.5)
    assert 0.02 <= many[-1] < few[-1]
    assert margin.now == few[-1]
