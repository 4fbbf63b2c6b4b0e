"""Thresholds that are proposed: the worse end of an interval, if that is better than a constant."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.components.analyze import curves, proposals

RARE = np.array([1.0] * 4 + [0.0] * 96, np.float32)


def entry(value: float, lower: float, upper: float) -> dict[str, float]:
    return {"value": value, "lower": lower, "upper": upper}


def proposed(task: str, label: np.ndarray, prediction: np.ndarray, **metrics: dict) -> dict:
    found = proposals.proposals({"metrics": metrics}, curves.of(task, label, prediction))
    return {each.name: (each.bound, each.why) for each in found}


def test_a_model_that_never_says_yes_has_a_high_accuracy_and_is_proposed_none() -> None:
    found = proposed(
        "binary_classification",
        RARE,
        np.full(100, 0.1, np.float32),
        auc_tfma=entry(0.7, 0.61234, 0.8),
        accuracy=entry(0.96, 0.92, 0.99),
        recall=entry(0.0, 0.0, 0.0),
        precision={"value": None},
    )
    assert found == {
        "auc": (0.612, "a score at random has 0.5"),
        "binary_accuracy": (None, "always saying the commonest class has 0.960"),
        "recall": (None, "a model that never says yes has 0"),
    }


def test_bounds_are_rounded_away_from_the_value_and_of_errors_are_upper() -> None:
    label = np.arange(100, dtype=np.float32)
    found = proposals.proposals(
        {"metrics": {"root_mean_squared_error": entry(123.4, 110.0, 130.123)}},
        curves.of("regression", label, label),
    )
    assert [each.bound for each in found] == [131]
    assert proposals.config(found, {"metricsSpecs": [{"metrics": []}], "slicing_specs": [{}]}) == {
        "metricsSpecs": [
            {"metrics": []},
            {
                "thresholds": {
                    "root_mean_squared_error": {"value_threshold": {"upper_bound": 131.0}}
                }
            },
        ],
        "slicing_specs": [{}],
    }
    assert proposals.config([], {}) == {}


@pytest.mark.parametrize(("lower", "bound"), [(0.4, None), (0.71234, 0.712), (0.5, None)])
def test_a_class_model_must_be_better_than_the_commonest_class(
    lower: float, bound: float | None
) -> None:
    label = np.array([0, 1] * 50, np.float32)
    found = proposed(
        "multiclass_classification",
        label,
        np.eye(2, dtype=np.float32)[label.astype(int)],
        accuracy=entry(0.8, lower, 0.9),
    )
    assert found["sparse_categorical_accuracy"][0] == bound


def test_without_intervals_nothing_is_proposed() -> None:
    found = proposed("binary_classification", RARE, RARE, accuracy={"value": 1.0})
    assert found == {}
