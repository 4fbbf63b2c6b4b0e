"""Candidates as a parameter: what they may say, what is refused, and what a loop gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeline.components.settings.candidates import MOST, items, parse, read
from edgeline.components.settings.settings import names, settings
from edgeline.errors import EdgelineError, UsageError
from edgeline.pipelines.parameter import of_form
from edgeline.pipelines.parameters import check
from edgeline.pipelines.parameters import parse as parse_set

FORM = ("splits", "schema", "training", "evaluation", "edge", "delivery")


def worked_out(**given: Any) -> dict[str, Any]:
    whole = {**{theme: {} for theme in FORM}, **given}
    return dict(zip(names(), settings("candidates", {}, **whole), strict=True))


def test_a_loop_gets_each_with_what_it_has_of_its_own_and_the_rest_of_the_run() -> None:
    tried = [
        {"name": "small"},
        {"name": "wide", "hyperparameters": {"units": 64.0}, "steps": 7.0},  # as KFP hands them
        {"name": "recent", "module": "r.py", "rows": {"column": "when", "from": "2026-01-01"}},
    ]
    found = worked_out(training={"candidates": tried, "seed": 5, "steps": 9})
    assert found["has_candidates"] is True
    small, wide, recent = found["each_candidate"]
    assert {type(value) for value in wide.values()} == {str}
    assert [each["place"] for each in found["each_candidate"]] == ["0", "1", "2"]
    assert (small["candidate"], small["own_module"], small["rows"]) == ("small", "", "{}")
    assert json.loads(small["training"])["steps"] == 9
    training = json.loads(wide["training"])
    assert (training["steps"], training["seed"]) == (7, 5)
    assert training["hyperparameters"] == {"units": 64}
    assert recent["own_module"] == "r.py"
    assert json.loads(recent["rows"]) == {"column": "when", "from": 1767225600000000.0}


def test_other_pipelines_have_none() -> None:
    found = dict(
        zip(names(), settings("tabular", {}, **{theme: {} for theme in FORM}), strict=True)
    )
    assert (found["has_candidates"], found["each_candidate"]) == (False, [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("wide", "is not a list of objects"),
        (["wide"], "is not a list of objects"),
        ([{"steps": 3}], r"candidates\[0\] has no name: give it one"),
        ([{"name": "Wide"}], r"candidates\[0\].name 'Wide' is impossible"),
        ([{"name": "a/../b"}], "is impossible"),
        ([{"name": "latest"}], "means the latest version"),
        ([{"name": "a"}, {"name": "a", "steps": 3}], "has 'a' twice"),
        ([{"name": "a", "steps": 3}, {"name": "b", "steps": 3}], "a and b are the same but for"),
        ([{"name": "a", "step": 3}], r"candidates\[0\].step: there is no such field. Did you mean"),
        ([{"name": "a", "steps": 0}], r"candidates\[0\].steps: 0 is not an integer of at least 1"),
        ([{"name": "a", "task": "regression"}], "task: there is no such field"),
        ([{"name": "a", "module": 3}], "module: 3 is not a string"),
        ([{"name": "a", "rows": {"column": "x"}}], r"\[0\].rows has neither from nor to"),
        ([{"name": f"c{i}", "seed": i} for i in range(MOST + 1)], "more than 32: leave some out"),
    ],
)
def test_what_is_no_candidate_is_told_in_one_sentence(given: Any, said: str) -> None:
    with pytest.raises(EdgelineError, match=said) as raised:
        parse(given)
    assert len(str(raised.value).splitlines()) == 1


def test_what_only_shows_beside_other_parameters_is_refused() -> None:
    training = {"candidates": [{"name": "wide"}]}
    with pytest.raises(EdgelineError, match=r"training\.candidates is required"):
        worked_out()
    with pytest.raises(EdgelineError, match="'wide', which one of the candidates is called"):
        worked_out(training=training, delivery={"candidate": "wide", "signing_keys": "env:K"})
    with pytest.raises(EdgelineError, match="does not tell whether more is better"):
        worked_out(training=training, evaluation={"choose_by": "lift"})


def test_a_file_of_candidates_is_taken_for_its_list(tmp_path: Path) -> None:
    file = tmp_path / "candidates.yaml"
    file.write_text("- name: small\n- {name: wide, hyperparameters: {units: 64}}\n")
    listed = [{"name": "small"}, {"name": "wide", "hyperparameters": {"units": 64}}]
    form = of_form("candidates")
    wanted = {"with_training": {"candidates": listed}}
    assert parse_set([f"candidates={file}"], form) == wanted
    assert parse_set([f"candidates={json.dumps(listed)}"], form) == wanted
    assert check({"training": {"candidates": str(file)}}, form) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: wide", "is not a list of candidates"),
        ("- [", "is not a list of candidates"),
        ("- {name: a, step: 3}", r"candidates\[0\].step: there is no such field"),
    ],
)
def test_a_file_that_is_none_is_refused_by_its_path(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as raised:
        read(file)
    assert str(file) in str(raised.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.yaml")


def test_items_of_nothing_are_none() -> None:
    assert items([], {}) == []
