"""What cannot be fair in a run is told by its first task, and before it."""

from __future__ import annotations

from typing import Any

import pytest

from edgeline.components.settings.settings import names, settings
from edgeline.errors import EdgelineError
from edgeline.preflight import evaluation
from edgeline.preflight.given import GivenRun

GROUP = {"group": "company"}
LIMIT = {"metrics": [{"metric": "equalised_odds_difference", "at_most": 0.1}]}


def told(kind: str = "tabular", fairness: Any = (), **objects: Any) -> dict[str, Any]:
    objects = {"evaluation": {"fairness": dict(fairness)}, **objects}
    given = settings(kind=kind, defaults={}, **objects)
    return dict(zip(names(), given, strict=True))


def test_each_step_that_needs_it_is_handed_it() -> None:
    found = told(fairness={**GROUP, "mitigation": "penalty"}, edge={"requirements": LIMIT})
    for task in ("for_transform", "for_train", "for_analyze"):
        assert found[task]["fairness"] == {**GROUP, "mitigation": "penalty"}
    assert "fairness" not in told()["for_train"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fairness": {"mitigation": "none"}}, "'group' is missing"),
        ({"fairness": {**GROUP, "mitigation": "hope"}}, "not none or reweighing or thresholds"),
        ({"fairness": {**GROUP, "weight": 0}}, "weight is 0: give a number above 0"),
        ({"fairness": {**GROUP, "max_accuracy_drop": 2}}, "give a share of 0 to 1"),
        ({"fairness": GROUP, "training": {"task": "regression"}}, "a regression makes none"),
        (
            {"fairness": GROUP, "training": {"beam_options": ["--runner=DirectRunner"]}},
            "leave it out, or beam_options",
        ),
        (
            {
                "fairness": {**GROUP, "mitigation": "penalty"},
                "training": {"workers": 2, "checkpoint_dir": "c"},
            },
            "and 2 workers each see a part",
        ),
        ({"edge": {"requirements": LIMIT}}, "needs groups: give the parameter fairness"),
        (
            {
                "edge": {
                    "requirements": {
                        "metrics": [{"metric": "equalized_odds_difference", "at_most": 0.1}]
                    }
                }
            },
            "is called equalised_odds_difference here",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_before_the_run_and_in_it(given, said) -> None:
    with pytest.raises(EdgelineError) as error:
        told(**given)
    assert said in str(error.value)
    values = {
        "task": "binary_classification",
        "fairness": given.get("fairness", {}),
        **given.get("training", {}),
        **given.get("edge", {}),
    }
    [sentence] = evaluation.fairly(GivenRun(values, frozenset()))
    assert said in sentence


def test_pipelines_without_it_refuse_it() -> None:
    for kind in ("tuned", "candidates"):
        with pytest.raises(EdgelineError, match="fairness"):
            told(kind, GROUP)
