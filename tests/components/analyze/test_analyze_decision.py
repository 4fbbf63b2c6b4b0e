"""The threshold that a goal asks for is the best there is, and decides alike in any arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.components.analyze import decision, decision_goal
from edgeline.errors import EdgelineError
from edgeline.runtimes import metrics

GOALS = ("f1", "recall>=0.9", "precision>=0.8", "cost:false_negative=10,false_positive=1")


def rows(seed: int, count: int = 400, positives: float = 0.05, digits: int = 9):
    """Labels, and scores that know something of them; few digits make many equal ones."""
    random = np.random.default_rng(seed)
    label = random.random(count) < positives
    score = np.clip(random.beta(1, 12, count) + label * random.beta(2, 8, count), 0, 1)
    return label.astype(np.float32), np.round(score, digits).astype(np.float32)


def table(label, score) -> metrics.ScoreTable:
    counted = metrics.Binary(0.5)
    for part in np.array_split(np.arange(len(label)), 3):
        counted.add(score[part, None], label[part])
    return counted.by_score()


def worth(goal: str, label, score, threshold: float) -> tuple[float, ...]:
    """What a goal looks at, by its definition; the larger the better."""
    yes, positive = score > np.float32(threshold), label == 1
    tp, fp, fn = (int(np.sum(each)) for each in (yes & positive, yes & ~positive, ~yes & positive))
    recall, precision = tp / (tp + fn), tp / max(tp + fp, 1)
    if goal == "f1":
        return (2 * tp / (2 * tp + fp + fn),)
    if goal.startswith("cost"):
        return (-(10 * fn + fp),)
    held = bool(recall >= 0.9 if goal.startswith("recall") else precision >= 0.8)
    return (held, precision if goal.startswith("recall") else recall)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("seed", range(12))
def test_no_threshold_is_better(goal: str, seed: int) -> None:
    label, score = rows(seed, digits=(2, 9)[seed % 2])
    found = decision.choose(decision_goal.parse(goal), table(label, score))
    places = np.unique(score)
    every = [0.0005, *((places[1:].astype(float) + places[:-1]) / 2), 0.9999]
    best = max(worth(goal, label, score, each) for each in every)
    assert found.reached == (best[0] is not False)
    assert 0 < found.threshold < 1
    if found.reached:
        assert worth(goal, label, score, found.threshold) == best
    yes = score.astype(np.float64) > found.threshold  # double or single
    assert found.true_positives + found.false_positives == yes.sum()
    assert (yes == (score > np.float32(found.threshold))).all()
    assert found.true_positives == np.sum(yes & (label == 1))
    assert found.confusion.sum() == len(label)


def test_what_is_told_of_a_threshold_is_what_counting_gives() -> None:
    label, score = rows(3)
    usual, chosen = decision.decisions([decision_goal.DecisionGoal("f1")], table(label, score))
    for each in (usual, chosen):
        yes = score > each.threshold
        right = np.sum(yes & (label == 1))
        assert each.precision == (right / yes.sum() if yes.sum() else None)
        assert each.recall == right / label.sum()
    told = decision.summaries(chosen, usual)
    assert told["decision_f1"] > told["decision_f1_at_0.5"]
    assert told["decision_recall_at_0.5"] == usual.recall


def test_neighbouring_floats_are_told_apart() -> None:
    low = np.float32(0.3)
    high = np.nextafter(low, np.float32(1))
    found = decision.choose(
        decision_goal.DecisionGoal("f1"), table(np.array([0.0, 1.0]), np.array([low, high]))
    )
    assert low <= np.float32(found.threshold) < high
    assert (found.true_positives, found.false_positives) == (1, 0)


def test_a_threshold_is_short_and_away_from_the_scores() -> None:
    label, score = np.array([0, 0, 1, 1.0]), np.array([0.1, 0.21, 0.3347, 0.9], np.float32)
    assert decision.choose(decision_goal.DecisionGoal("f1"), table(label, score)).threshold == 0.3


def test_of_more_rows_than_are_kept_the_bins_are_exact_at_their_borders(monkeypatch) -> None:
    label, score = rows(5, 3000)
    exact = decision.choose(decision_goal.DecisionGoal("f1"), table(label, score))
    monkeypatch.setattr(metrics, "ROWS", 1000)
    usual, binned = decision.decisions([decision_goal.DecisionGoal("f1")], table(label, score))
    assert exact.exact and not binned.exact
    assert binned.f1 == pytest.approx(exact.f1, abs=0.01)
    yes = score > np.float32(binned.threshold)
    assert binned.true_positives + binned.false_positives == yes.sum()
    assert usual.true_positives + usual.false_positives == np.sum(score > 0.5)


def test_a_goal_that_no_threshold_reaches_is_a_sentence() -> None:
    label, score = np.array([0, 1, 0, 1.0]), np.array([0.9, 0.2, 0.3, 0.4], np.float32)
    missed = decision.choose(decision_goal.parse("precision>=0.9"), table(label, score))
    assert not missed.reached
    assert decision.sentence(missed, "eval") == (
        "No decision threshold reaches precision>=0.9 on eval: the highest precision is 0.5, at "
        "the threshold 0.1. Correct decision_goal, or the model."
    )
    for alone, said in ((0.0, "no positive row"), (1.0, "no negative row")):
        missed = decision.choose(decision_goal.parse("f1"), table(np.full(4, alone), score))
        assert not missed.reached and said in decision.sentence(missed, "eval")


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("recall", "is not a goal: give f1, recall>=0.9"),
        ("recall>=90", "lies above 0 and up to 1"),
        ("precision>=0", "lies above 0"),
        ("recall>0.9", "is not a goal"),
        ("cost:false_negative=10", "give both costs once"),
        ("cost:false_negative=10,false_positive=0", "each above 0"),
        ("cost:false_negative=1,false_negative=2", "give both costs once"),
        ("cost:fn=1,fp=2", "is not a goal"),
        ("F1", "is not a goal"),
    ],
)
def test_what_is_no_goal_is_refused_in_a_sentence(goal: str, said: str) -> None:
    with pytest.raises(EdgelineError, match=r"decision_goal is ") as raised:
        decision_goal.parse(goal)
    assert said in str(raised.value)


def test_a_goal_is_told_as_it_is_taken() -> None:
    for goal in GOALS:
        assert str(decision_goal.parse(f" {goal} ")) == goal
    assert str(decision_goal.parse("recall >= .9")) == "recall>=0.9"
    assert decision_goal.parse("") is None
