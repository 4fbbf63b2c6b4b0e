"""What a metric does not tell by itself is said beside it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.components.analyze import curves
from edgeline.components.analyze.cautions import warnings


def told(task: str, label: list[float], prediction: object, classes: list[str]) -> list[str]:
    counted = curves.of(task, np.array(label), np.array(prediction))
    return list(warnings(counted, classes, "eval"))


def test_a_model_that_never_says_yes_is_named_though_its_accuracy_is_high() -> None:
    (said,) = told("binary_classification", [1] * 4 + [0] * 996, [0.1] * 1_000, ["no", "yes"])
    assert said == (
        "the model never predicts class yes where a score above 0.5 is a yes: whoever always says "
        "no has this accuracy, 0.996, too"
    )


def test_a_split_without_a_class_is_named() -> None:
    (said,) = told("binary_classification", [0] * 500, [0.1] * 500, ["0", "1"])
    assert said.startswith("eval has no row of class 1, so AUC")
    scores = np.eye(4)[[0, 1, 1, 1] * 200]
    absent, never = told("multiclass_classification", [0, 1, 2, 2] * 200, scores, list("abcd"))
    assert absent.startswith("eval has no row of class d")
    assert never == "the model never predicts class c, which eval has"


def test_with_few_rows_the_width_of_what_they_tell_is_said() -> None:
    (said,) = told("binary_classification", [0, 1] * 30, [0.1, 0.9] * 30, ["0", "1"])
    assert "eval has 60 rows" in said
    assert "±0.13" in said
    (said,) = told("regression", [1.0] * 60, [1.0] * 60, [])
    assert said == "eval has 60 rows, so its metrics are known roughly: see their intervals"


@pytest.mark.parametrize("task", ["binary_classification", "regression"])
def test_of_a_usual_evaluation_nothing_is_said(task: str) -> None:
    classes = ["0", "1"] if task != "regression" else []
    assert told(task, [0, 1] * 500, [0.1, 0.9] * 500, classes) == []
