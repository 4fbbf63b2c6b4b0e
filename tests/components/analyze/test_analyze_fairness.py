"""Differences between groups are fairlearn's, are told with intervals, and can be limits."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts.fairness import DIFFERENCES, FairnessSettings
from edgeline.artifacts.group_decisions import GroupThresholds
from edgeline.components.analyze import group_thresholds
from edgeline.components.analyze.analyze import analyze
from edgeline.components.analyze.group_fairness import GroupedRows, measure
from edgeline.errors import EdgelineError

sys.path.append(str(Path(__file__).parents[1] / "explain"))
import explain_referees

HOURS = {"group": "trip_start_hour", "min_rows": 40}


def rows(seed: int = 0, count: int = 6000, groups: int = 3, weighted: bool = False):
    """Groups that a score treats differently."""
    random = np.random.default_rng(seed)
    group = random.integers(0, groups, count)
    label = random.random(count) < 0.2 + 0.3 * group / groups
    score = random.normal(1.5 * label - 1 + group / groups)
    score = (1 / (1 + np.exp(-score))).astype(np.float32)
    weight = random.random(count) * 3 if weighted else None
    return GroupedRows(label, score > 0.5, score, group, weight)


def names(found: GroupedRows) -> list[str]:
    return [f"g{number}" for number in range(int(found.group.max()) + 1)]


@explain_referees.needs_referees
def test_differences_are_those_of_fairlearn(tmp_path) -> None:
    for groups in (2, 7):
        given = rows(groups, groups=groups, weighted=True)
        file = tmp_path / f"{groups}.npz"
        np.savez(file, **{n: getattr(given, n) for n in ("label", "yes", "group", "weight")})
        script = Path(explain_referees.__file__).with_name("fairlearn_referee.py")
        done = run([explain_referees.PYTHON, script, file], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        plain = GroupedRows(given.label, given.yes, given.score, given.group)
        ours = [measure(each, names(each), 1, resamples=0) for each in (plain, given)]
        for name, values in json.loads(done.stdout).items():
            for theirs, mine in zip(values, ours, strict=True):
                assert mine.differences[name].value == pytest.approx(theirs, abs=1e-9), name


def test_the_calibration_error_of_a_group_is_its_definition() -> None:
    given = rows(3)
    found = measure(given, names(given), 1, resamples=0)
    for each in found.groups:
        here = given.group == int(each.name[1:])
        label, score = given.label[here], given.score[here].astype(float)
        bins = np.minimum((score * 15).astype(int), 14)
        error = sum(
            abs(label[bins == each_bin].sum() - score[bins == each_bin].sum())
            for each_bin in range(15)
        )
        assert each.calibration_error.value == pytest.approx(error / here.sum(), abs=1e-9)


@pytest.mark.parametrize("groups", [2, 10])
def test_an_interval_covers_the_difference_where_there_is_none(groups) -> None:
    """Of ten alike groups the largest and the smallest rate differ by chance alone."""
    covered = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        group, label = random.integers(0, groups, 2000), random.random(2000) < 0.4
        yes = random.random(2000) < np.where(label, 0.7, 0.2)
        given = GroupedRows(label, yes, yes.astype(np.float32), group)
        found = measure(given, names(given), 1, seed, resamples=200)
        covered += found.differences["equalised_odds_difference"].lower == 0
    assert covered >= 34  # 38 of 40 at 95 %


def test_weights_count_as_rows_and_small_groups_are_named() -> None:
    given = rows(5, count=900)
    twice = GroupedRows(
        *(np.repeat(x, 2) for x in (given.label, given.yes, given.score, given.group))
    )
    weighted = GroupedRows(given.label, given.yes, given.score, given.group, np.full(900, 2.0))
    one, two = (measure(each, names(given), 1) for each in (weighted, twice))
    for name in DIFFERENCES:
        assert one.differences[name].value == pytest.approx(two.differences[name].value)
    # a weight of 2 is not two rows: the interval is that of 900
    plain = measure(given, names(given), 1)
    name = "demographic_parity_difference"
    assert one.differences[name].lower == pytest.approx(plain.differences[name].lower, abs=0.01)
    few = GroupedRows(
        given.label, given.yes, given.score, np.where(np.arange(900) < 9, 3, given.group)
    )
    found = measure(few, ["a", "b", "c", "d"], 10)
    assert found.left_out == {"d": 9} and len(found.groups) == 3
    alone = measure(few, ["a", "b", "c", "d"], 10_000)
    assert not alone.groups and alone.differences[name].value is None
    assert alone.undefined == (
        "no group has enough rows, so no difference between groups is computed",
    )


@pytest.mark.parametrize("criterion", ["equalised_odds", "equal_opportunity", "demographic_parity"])
def test_thresholds_by_group_bring_rates_together_on_rows_they_were_not_chosen_on(
    criterion,
) -> None:
    settings = FairnessSettings("g", "thresholds", criterion, max_accuracy_drop=0.03)
    given = rows(1)
    crossed = group_thresholds.crossed(given, names(given), 0.5, settings, seed=0)
    name = f"{criterion}_difference"
    before, after = (measure(each, names(given), 1, resamples=0) for each in (given, crossed))
    assert after.differences[name].value < before.differences[name].value / 2
    assert after.accuracy.value > before.accuracy.value - 0.03 - 0.01
    chosen = group_thresholds.choose(given, names(given), 0.5, settings)
    assert chosen.keys() == {"g0", "g1", "g2"} and all(0 < each < 1 for each in chosen.values())
    strict = FairnessSettings("g", "thresholds", criterion, max_accuracy_drop=0.0)
    kept = group_thresholds.choose(given, names(given), 0.5, strict)
    yes = group_thresholds.decide(given.score, given.group, names(given), kept, 0.5)
    assert np.mean(yes == given.label) >= np.mean(given.yes == given.label)


def analyzed(tmp_path, examples, model, fairness, **more):
    return analyze(
        examples,
        model,
        str(tmp_path / "evaluation"),
        str(tmp_path / "report.html"),
        fairness=fairness,
        **more,
    )


def test_a_run_tells_differences_and_holds_them_to_limits(tmp_path, taxi, tips) -> None:
    wanted = {"metrics": [{"metric": "equalised_odds_difference", "at_most": 0.0001}]}
    found = analyzed(tmp_path, taxi, tips, HOURS, requirements=wanted)
    assert set(DIFFERENCES) <= set(found.overall)
    assert not found.blessed
    [outcome] = found.metadata["requirements"]
    assert (
        outcome["what"] == "equalised_odds_difference of all rows" and outcome["state"] == "not met"
    )
    told = json.loads((tmp_path / "evaluation/fairness.json").read_text())
    [side] = told["sides"]
    groups = {each["name"]: each["rows"] for each in side["classes"][""]["groups"]}
    assert sum(groups.values()) + sum(side["classes"][""]["left_out"].values()) == 1501
    page = (tmp_path / "report.html").read_text()
    assert "Fairness between groups of trip_start_hour" in page
    assert "left out, with fewer than 40 rows" in page.lower()
    metrics = json.loads((tmp_path / "evaluation/metrics.json").read_text())["slices"][0]["metrics"]
    value = metrics["equalised_odds_difference"]
    assert value["lower"] <= value["value"] <= value["upper"]
    assert metrics["accuracy"]["value"] == pytest.approx(side["classes"][""]["accuracy"]["value"])


def test_thresholds_go_with_the_evaluation_and_decide(tmp_path, taxi, tips) -> None:
    asked = {**HOURS, "mitigation": "thresholds", "criterion": "demographic_parity"}
    found = analyzed(tmp_path, taxi, tips, asked)
    kept = artifacts.read(tmp_path / "evaluation", "evaluation/v1").metadata
    assert any("decide by one threshold" in each for each in kept["warnings"])
    chosen = GroupThresholds.of(kept)
    assert chosen.column == "trip_start_hour" and chosen.other == 0.5
    hour, threshold = next(iter(chosen.thresholds.items()))
    scores = np.array([threshold - 0.001, threshold + 0.001, 0.51], np.float32)
    assert chosen.decide(scores, [int(hour), int(hour), "nobody"]).tolist() == [False, True, True]
    told = json.loads((tmp_path / "evaluation/fairness.json").read_text())
    assert [each["name"] for each in told["sides"]] == ["one threshold", "thresholds by group"]
    served = told["sides"][1]["classes"][""]["differences"]["demographic_parity_difference"]
    assert found.overall["demographic_parity_difference"] == pytest.approx(served["value"])
    with pytest.raises(EdgelineError, match="has no thresholds by group"):
        GroupThresholds.of({})


@pytest.mark.parametrize(
    ("asked", "wanted", "said"),
    [
        (
            {"group": "hour"},
            {},
            "fairness.group names column 'hour', which the examples do not have",
        ),
        ({"groups": "company"}, {}, "'groups' is unknown: its fields are group, mitigation"),
        ({"group": "company", "min_rows": 0}, {}, "min_rows is 0: give a whole number"),
        ({"group": "fare"}, {}, "at most 100 groups are compared"),
        ({"group": "company", "mitigation": "penalty"}, {}, "was trained with none: give train"),
        ({}, {"at_most": 0.1}, "equalised_odds_difference needs groups: give the parameter"),
        ({"group": "company"}, {"at_least": 0.1}, "is better when lower: give at_most"),
        ({"group": "company"}, {"at_most": 0.1, "by": ["fare"]}, "leave out by and where"),
    ],
)
def test_what_cannot_be_is_a_sentence(tmp_path, taxi, tips, asked, wanted, said) -> None:
    limit = {"metrics": [{"metric": "equalised_odds_difference", **wanted}]} if wanted else {}
    with pytest.raises(EdgelineError) as error:
        analyzed(tmp_path, taxi, tips, asked, requirements=limit, confidence_intervals=False)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_group_is_the_same_however_an_application_writes_it() -> None:
    chosen = GroupThresholds("g", {"8": 0.1, "0.10000000149011612": 0.2, "(missing)": 0.3}, 0.9)
    groups = [8, 8.0, "8", np.int64(8), b"8", 0.1, np.float32(0.1), None, "", float("nan"), 9]
    yes = chosen.decide(np.full(len(groups), 0.15), groups)
    assert yes.tolist() == [True] * 5 + [False] * 6
    yes = chosen.decide(np.full(len(groups), 0.25), groups)
    assert yes.tolist() == [True] * 7 + [False] * 4
    assert chosen.decide(np.full(11, 0.35), groups).tolist() == [True] * 10 + [False]
