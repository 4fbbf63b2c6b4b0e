"""The best approved candidate goes on, by the declared rule; what became of all is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeline import artifacts
from edgeline.artifacts.candidates import APPROVED, FAILED, NOT_APPROVED, PARTS, SCHEMA, of
from edgeline.components.choose.choose import choose
from edgeline.components.choose.rule import ChoiceRule
from edgeline.errors import EdgelineError


@pytest.fixture
def tried(tmp_path: Path):
    """Makes candidates, and chooses among them."""

    def make(name: str, state: str = APPROVED, place: int = 0, **more: Any) -> str:
        with artifacts.writing(tmp_path / "tried" / name, SCHEMA) as draft:
            for part in PARTS if state == APPROVED else PARTS[:1]:
                with artifacts.writing(draft.path / part, f"{part}/v1") as inner:
                    (inner.path / "content").write_text(f"{part} of {name}")
            draft.metadata |= {
                "name": name,
                "place": place,
                "state": state,
                "reasons": [],
                "module": "m.py",
                "training": {"steps": 3},
                "training_rows": {},
                "metrics": {},
                "size": None,
                "p99_ms": None,
            } | more
        return str(tmp_path / "tried" / name)

    def run(*paths: str, **rule: Any) -> dict[str, Any]:
        parts = {f"{part}_path": str(tmp_path / "out" / part) for part in PARTS}
        page = tmp_path / "page.html"
        return choose(paths, tmp_path / "choice", page, **parts, rule=ChoiceRule(**rule))

    return make, run


def names(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.name, each.state) for each in of(found)]


def test_the_best_goes_on_with_all_that_was_found_of_it(tried, tmp_path) -> None:
    make, run = tried
    found = run(
        make("small", metrics={"auc": 0.90}, size=10_000, p99_ms=0.5),
        make("lost", FAILED, reasons=["train: no such layer"]),
        make("wide", metrics={"auc": 0.93, "loss": 0.2}, size=90_000, p99_ms=2.0),
        make("poor", NOT_APPROVED, metrics={"auc": 0.6}, reasons=["auc is 0.6"]),
    )
    assert found["chosen"] == "wide"
    assert names(found) == [
        ("wide", "chosen"),
        ("small", "approved"),
        ("lost", "failed"),
        ("poor", "not approved"),
    ]
    for part in PARTS:
        copied = artifacts.read(tmp_path / "out" / part, f"{part}/v1")
        assert (copied.path / "content").read_text() == f"{part} of wide"
    kept = artifacts.read(tmp_path / "choice", "choice/v1").metadata
    assert kept["rule"] == "The highest auc goes on; of equal ones the first of the list."
    page = (tmp_path / "page.html").read_text()
    for text in ("wide", "no such layer", "auc is 0.6", "0.93", "2 of 4", kept["rule"]):
        assert text in page


@pytest.mark.parametrize(
    ("rule", "chosen"),
    [
        ({}, "wide"),
        ({"tie_within": 0.05}, "first"),
        ({"tie_within": 0.05, "tie": "smaller"}, "tiny"),
        ({"tie_within": 0.05, "tie": "faster"}, "wide"),
        ({"choose_by": "loss"}, "first"),
        ({"choose_by": "loss", "direction": "maximize"}, "tiny"),
        ({"choose_by": "lift", "direction": "minimize"}, "tiny"),
    ],
)
def test_ties_and_directions_are_as_declared(tried, rule, chosen) -> None:
    make, run = tried
    first = make("first", metrics={"auc": 0.91, "loss": 0.1, "lift": 3}, size=300, p99_ms=3.0)
    wide = make("wide", metrics={"auc": 0.93, "loss": 0.2, "lift": 2}, size=900, p99_ms=1.0)
    tiny = make("tiny", metrics={"auc": 0.90, "loss": 0.3, "lift": 1}, size=100, p99_ms=2.0)
    assert run(first, wide, tiny, **rule)["chosen"] == chosen


def test_of_equal_ones_the_first_of_the_list_goes_on_in_whatever_order_they_ended(tried) -> None:
    make, run = tried
    late = make("late", place=2, metrics={"auc": 0.9})
    early = make("early", place=1, metrics={"auc": 0.9})
    assert run(late, early)["chosen"] == "early"


def test_an_approved_one_without_the_metric_is_not_compared_and_may_be_published(tried) -> None:
    make, run = tried
    found = run(make("a", metrics={"auc": 0.5}), make("b", metrics={"loss": 0.1}))
    assert names(found) == [("a", "chosen"), ("b", "not compared")]
    other = of(found)[1]
    assert other.is_approved and other.reasons == ("it has no auc to be chosen by",)


def test_where_none_is_approved_nothing_is_chosen_and_nothing_written(tried, tmp_path) -> None:
    make, run = tried
    found = run(make("a", NOT_APPROVED), make("b", FAILED, reasons=["train: why"]))
    assert found["chosen"] == ""
    assert not (tmp_path / "out").exists()


def test_what_nobody_can_choose_by_is_one_sentence(tried, tmp_path) -> None:
    make, run = tried
    a = make("a", metrics={"lift": 1.0})
    with pytest.raises(EdgelineError, match="no recall to be chosen by: computed are lift"):
        run(a, choose_by="recall")
    with pytest.raises(EdgelineError, match=r"No candidate is given: connect dsl\.Collected"):
        run()
    with pytest.raises(EdgelineError, match="no auc or accuracy or mean_squared_error to be"):
        run(a)
    with pytest.raises(EdgelineError, match="x: train: why 1 more failed, too"):
        run(make("x", FAILED, reasons=["train: why"]), make("y", FAILED, reasons=["no"]))
    again = tmp_path / "again"
    with artifacts.writing(again, SCHEMA) as draft:
        draft.metadata |= artifacts.read(a, SCHEMA).metadata
    with pytest.raises(EdgelineError, match="Two candidates are called a"):
        run(a, str(again))
    (Path(a) / "model" / "content").write_text("another")
    with pytest.raises(EdgelineError, match="is damaged"):
        run(a)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"choose_by": "lift"}, "whose name does not tell whether more is better: give direction"),
        ({"direction": "up"}, "direction is 'up': give maximize or minimize"),
        ({"tie": "newest"}, "tie is 'newest': give one of first, smaller, faster"),
        ({"tie_within": -1.0}, "tie_within is -1.0: give a number of at least 0"),
        ({"tie_within": float("nan")}, "tie_within is nan"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(EdgelineError, match=said):
        ChoiceRule(**rule)
