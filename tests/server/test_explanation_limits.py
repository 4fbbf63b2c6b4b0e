"""What an explanation may ask of a model, and which models have none."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from test_explanations import RECORDED, ROW, recorded

from edgeline.server.errors import Code, ServingError
from edgeline.server.models.loading import load
from edgeline.server.protocols.explanations import ExplainBudget, explain


@pytest.fixture
def instance(tmp_path):
    return load(recorded(tmp_path / "m"), "m", 1, 1, 1)[0]


def body(count: int) -> bytes:
    return json.dumps({"instances": [ROW] * count}).encode()


def counting(instance, monkeypatch) -> list[int]:
    """The rows of each call of a model."""
    calls, predict = [], instance.predict

    def counted(rows):
        calls.append(len(rows["count"]))
        return predict(rows)

    monkeypatch.setattr(instance, "predict", counted)
    return calls


def test_the_instances_count_within_the_rows(instance, monkeypatch):
    calls = counting(instance, monkeypatch)
    _, asked = explain(body(39), instance, RECORDED, ExplainBudget(60.0, 200))
    assert asked == sum(calls) <= 200


def test_the_time_and_the_client_are_looked_at_from_the_first_row(instance, monkeypatch):
    calls = counting(instance, monkeypatch)
    with pytest.raises(ServingError) as refused:
        explain(body(1000), instance, RECORDED, ExplainBudget(60.0, 20_000), lambda: bool(calls))
    assert refused.value.code is Code.CANCELLED
    assert len(calls) == 1
    assert calls[0] < 10
    predict, calls[:] = instance.predict, []
    over = []
    monkeypatch.setattr(
        "edgeline.runtimes.shapley_rounds.monotonic", lambda: time.monotonic() + 60 * len(over)
    )
    monkeypatch.setattr(instance, "predict", lambda rows: (over.append(1), predict(rows))[1])
    with pytest.raises(ServingError, match="not one order of the features was done"):
        explain(body(1000), instance, RECORDED, ExplainBudget(30.0, 20_000))
    assert len(calls) == 1


def test_several_numbers_of_a_regression_are_not_explained(instance, monkeypatch):
    predict = instance.predict
    monkeypatch.setattr(
        instance, "predict", lambda rows: {"score": np.repeat(predict(rows)["score"], 2, axis=1)}
    )
    with pytest.raises(ServingError, match="gives 2 numbers as 'score'") as refused:
        explain(body(1), instance, RECORDED, ExplainBudget(60.0, 200))
    assert refused.value.code is Code.UNIMPLEMENTED
