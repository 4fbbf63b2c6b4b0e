"""What is made of attributions and answers: agreement, importance, curves, shortcuts, changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from edgeline.components.explain import (
    agreement,
    counterfactuals,
    dependence,
    drawings,
    heat_maps,
    importance,
    shortcuts,
)
from edgeline.components.explain.explain import ExplainPlan
from edgeline.components.explain.importance import FeatureImportance
from edgeline.components.explain.sides import ExplainedSide, ExplainedSides
from edgeline.errors import EdgelineError

BINARY = "binary_classification"


def test_rank_correlations_are_scipy_s():
    from scipy.stats import spearmanr

    random = np.random.default_rng(1)
    one, two = random.normal(size=(2, 50, 9))
    one[:, 3] = one[:, 4]  # ties
    found = agreement.spearman(one, two)
    for at in range(50):  # numbers so far apart that rounding changes no rank, or nearly none
        assert found[at] == pytest.approx(spearmanr(one[at], two[at]).statistic, abs=0.04)
    np.testing.assert_allclose(agreement.spearman(one, one), 1)
    np.testing.assert_allclose(agreement.spearman(one, -one), -1)


def test_the_order_of_what_adds_nothing_does_not_count():
    one = np.array([[5.0, 1e-7, 2e-7, 3e-7], [0, 0, 0, 0], [0, 0, 0, 0]])
    two = np.array([[4.9, 3e-7, 2e-7, 1e-7], [0, 0, 0, 0], [1, 2, 3, 4]])
    np.testing.assert_allclose(agreement.spearman(one, two), [1, 1, 0])
    found = agreement.agreement("both", agreement.spearman(one, two))
    assert (found.rows, found.median, found.low) == (3, 1.0, pytest.approx(1 / 3))


def test_the_interval_of_an_importance_holds_the_true_one_and_narrows_with_rows():
    random = np.random.default_rng(2)
    values = random.normal(size=(2000, 2)) * [1.0, 3.0]
    few = importance.importances(values[:50], ["a", "b"], seed=0)
    many = importance.importances(values, ["a", "b"], seed=0)
    assert [each.feature for each in many] == ["b", "a"]
    for found in (few, many):
        for each, scale in zip(found, (3.0, 1.0), strict=True):
            assert each.lower < scale * np.sqrt(2 / np.pi) < each.upper
    assert many[0].upper - many[0].lower < (few[0].upper - few[0].lower) / 3
    assert sum(each.share for each in many) == pytest.approx(1)


def test_slices_of_enough_rows_have_importances_of_their_own():
    values = np.zeros((60, 2))
    values[:30, 0], values[30:, 1] = 1, 1
    words = {"side": ["left"] * 30 + ["right"] * 25 + ["rare"] * 5}
    found = importance.by_slice(values, ["a", "b"], words, seed=0)
    assert [(each.value, each.rows, each.features[0].feature) for each in found] == [
        ("left", 30, "a"),
        ("right", 25, "b"),
    ]


def test_importances_of_many_rows_are_resampled_in_pieces(monkeypatch):
    values = np.random.default_rng(5).normal(size=(300, 3))
    whole = importance.importances(values, list("abc"), seed=1)
    monkeypatch.setattr(importance, "AT_ONCE", 7 * 300)
    for each, wanted in zip(importance.importances(values, list("abc"), 1), whole, strict=True):
        assert each.to_json() == pytest.approx(wanted.to_json())


def test_an_identifier_has_no_slices_however_many_rows_there_are():
    names = [str(row) for row in range(100_000)]
    words = {"id": names, "side": ["left"] * 30 + names[30:]}
    [found] = importance.by_slice(np.ones((len(names), 1)), ["a"], words, seed=0)
    assert (found.column, found.value, found.rows) == ("side", "left", 30)


def test_a_curve_asks_for_no_more_rows_at_once_than_fit(monkeypatch):
    asked = []

    def model(given):
        asked.append(sum(array.nbytes for array in given.values()))
        return given["x"].astype(np.float64) * given["image"].mean(axis=(1, 2, 3))[:, None]

    random = np.random.default_rng(6)
    rows = {
        "image": random.uniform(size=(20, 8, 8, 1)),
        "x": np.arange(20, dtype=np.float32)[:, None],
    }
    [whole] = dependence.dependences(model, model, rows, ["x"], 0)
    monkeypatch.setattr(dependence, "AT_ONCE_BYTES", 7 * 520)
    asked.clear()
    [pieces] = dependence.dependences(model, model, rows, ["x"], 0)
    assert max(asked) <= 7 * 520
    assert pieces.edge == pytest.approx(whole.edge) and pieces.values == whole.values


def test_a_curve_asks_numbers_at_quantiles_and_words_by_how_often_they_are():
    rows = {
        "x": np.arange(100, dtype=np.float32)[:, None],
        "word": np.array([b"often"] * 60 + [b"seldom"] * 30 + [b""] * 10, object)[:, None],
        "fixed": np.ones((100, 1)),
    }

    def model(given):
        return given["x"].astype(np.float64) + 100.0 * (given["word"] == b"seldom")

    def other(given):
        return -model(given)

    x, word = dependence.dependences(model, other, rows, ["x", "word", "fixed"], 0)
    assert (x.feature, word.feature) == ("x", "word")
    assert len(x.places) == 12 and x.places[0] < 3 and x.places[-1] > 96
    np.testing.assert_allclose(np.array(x.cloud) - x.places, 30, atol=1e-4)
    assert x.edge == tuple(-value for value in x.cloud)
    assert word.values == ("often", "seldom", "(missing)") and word.places == ()
    assert word.cloud[1] - word.cloud[0] == pytest.approx(100)


def importances(*shares):
    return [FeatureImportance(f"f{at}", s, s, s, s) for at, s in enumerate(shares)]


def test_a_feature_that_carries_nearly_all_is_named():
    [found] = shortcuts.shortcuts(importances(0.85, 0.1, 0.05), None)
    assert found.feature == "f0" and "carries 85% of the importance" in found.sentence
    assert shortcuts.shortcuts(importances(0.75, 0.2, 0.05), None) == []
    assert shortcuts.shortcuts(importances(1.0), None) == []  # of one feature there is no other


def test_a_feature_whose_permutation_alone_loses_the_metric_is_named():
    random = np.random.default_rng(4)
    leak = random.integers(0, 2, (400, 1)).astype(np.float32)
    rows = {"leak": leak, "noise": random.normal(size=(400, 1)).astype(np.float32)}

    def model(given):
        return 0.9 * given["leak"].astype(np.float64) + 0.05

    measured = shortcuts.skill(model, rows, leak[:, 0], BINARY, ["leak", "noise"], seed=0)
    assert measured.metric == "auc" and measured.value == 1.0
    assert [each.feature for each in measured.permuted] == ["leak", "noise"]
    assert measured.permuted[1].lost == 0
    [found] = shortcuts.shortcuts(importances(0.5, 0.5), measured)
    assert found.feature == "leak" and "alone holds all of auc" in found.sentence
    guess = shortcuts.skill(
        lambda given: given["noise"] * 0.0 + 0.5, rows, leak[:, 0], BINARY, ["leak"], seed=0
    )
    assert guess.permuted == ()
    assert shortcuts.skill(model, rows, np.ones(400), BINARY, ["leak"], seed=0) is None


@dataclass(frozen=True)
class NoOriginal:
    words: str = "nothing"


def sides(model, task=BINARY, labels=()):
    side = ExplainedSide("it", (model,))
    return ExplainedSides(NoOriginal(), side, side, task, labels, ("a", "b", "c"), 0.5)


def test_a_decision_changes_with_as_few_of_a_neighbour_s_values_as_were_found():
    def model(rows):  # yes where a and b are, whatever c is
        return ((rows["a"] > 0.5) & (rows["b"] > 0.5)).astype(np.float64) * 0.8 + 0.1

    recorded = {
        "a": np.array([[0.0], [1.0], [1.0]]),
        "b": np.array([[0.0], [0.0], [1.0]]),
        "c": np.array([[5.0], [6.0], [7.0]]),
    }
    row = {name: array[:1] for name, array in recorded.items()}
    [found] = counterfactuals.counterfactuals(sides(model), row, [41], recorded)
    assert (found.row, found.neighbour, found.before, found.after) == (41, 2, "no", "yes")
    assert sorted(each.feature for each in found.changes) == ["a", "b"]
    assert found.differing == 3
    assert (found.score, found.score_after) == pytest.approx((0.1, 0.9))
    yes = {name: array[2:] for name, array in recorded.items()}
    [back] = counterfactuals.counterfactuals(sides(model), yes, [0], recorded)
    assert len(back.changes) == 1 and back.after == "no"


def test_where_no_recorded_row_is_decided_otherwise_there_is_no_change():
    rows = {"a": np.zeros((3, 1)), "b": np.zeros((3, 1)), "c": np.zeros((3, 1))}
    assert counterfactuals.counterfactuals(sides(lambda r: r["a"]), rows, range(3), rows) == []


def test_distances_are_gower_s():
    recorded = {
        "n": np.linspace(0, 100, 101)[:, None],
        "word": np.array([b"a"] * 101, object)[:, None],
    }
    row = {"n": np.array([[10.0]]), "word": np.array([[b"a"]], object)}
    others = {
        "n": np.array([[10.0], [59.0], [np.nan]]),
        "word": np.array([[b"b"], [b"a"], [b"a"]], object),
    }
    found = counterfactuals.gower(row, others, recorded)
    np.testing.assert_allclose(found, [0.5, 0.25, 0.5])


def test_patches_cover_every_pixel_and_the_one_that_counts_is_found():
    for shape in ((28, 28), (5, 3), (1, 1), (30, 17)):
        covered = np.zeros(shape)
        for patch in heat_maps.patches_of(*shape):
            covered[patch] += 1
        assert covered.min() >= 1

    def model(rows):
        return rows["image"][:, 20:22, 5:7, 0].mean(axis=(1, 2))[:, None].astype(np.float64)

    pictures = np.random.default_rng(0).uniform(size=(3, 28, 28, 1)).astype(np.float32)
    pictures[:, 20:22, 5:7] = 1.0
    rows, side = {"image": pictures}, ExplainedSide("it", (model,))
    background = {"image": np.zeros((4, 28, 28, 1), np.float32)}
    numbers = targets = np.zeros(3, np.int64)
    found = heat_maps.heat_maps(side, side, rows, numbers, targets, background, "image", None)
    for heat in found.edge:
        at = np.unravel_index(heat.argmax(), heat.shape)
        assert abs(at[0] - 20.5) < 4 and abs(at[1] - 5.5) < 4
    np.testing.assert_allclose(found.correlations, 1)
    np.testing.assert_array_equal(rows["image"], pictures)


def test_a_picture_without_time_for_its_gradients_says_so():
    ones = np.ones((2, 16, 16))
    slopes = ones.copy()
    slopes[1] = np.nan
    found = heat_maps.HeatMaps(
        "image", np.array([3, 8]), ones[..., None], ones, ones, slopes, np.ones(2)
    )
    body = drawings.maps(found).body
    assert body.count("no time") == 1 and body.count("<img") == 4 + 3


def test_a_picture_that_is_answered_by_no_number_is_refused():
    side = ExplainedSide("the edge model", (lambda rows: rows["image"].mean(axis=(1, 2)) / 0.0,))
    rows = {"image": np.zeros((2, 8, 8, 1))}
    numbers, targets = np.array([5, 9]), np.zeros(2, np.int64)
    with np.errstate(invalid="ignore"), pytest.raises(EdgelineError, match=r"Of row 5.*\[nan\]"):
        heat_maps.heat_maps(side, side, rows, numbers, targets, rows, "image", None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"explained_rows": 0}, "explained_rows is 0: give 1 to 100,000"),
        ({"background_rows": 0}, "background_rows is 0"),
        ({"gradient_baseline": "zero"}, "gradient_baseline is 'zero': give one of mean, missing"),
        ({"min_agreement": 1.5}, "min_agreement is 1.5"),
        ({"min_agreement": float("nan")}, "min_agreement is nan"),
        ({"max_seconds": 0}, "max_seconds is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(given, said):
    with pytest.raises(EdgelineError, match=said):
        ExplainPlan(**given)
