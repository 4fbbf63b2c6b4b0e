"""A row of weight 3 counts as three, one of weight 0 as none; what is not a weight is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import example_weights, examples
from edgeline.components.analyze import curves
from edgeline.components.analyze.decision import choose
from edgeline.components.analyze.decision_goal import parse
from edgeline.errors import EdgelineError
from edgeline.runtimes import metrics

ROWS = 400


@pytest.fixture
def weighted():
    """Scores, labels and whole weights, of which a third are 0."""
    random = np.random.default_rng(11)
    score = random.integers(0, 50, ROWS) / 50
    label = (random.random(ROWS) < score).astype(np.float32)
    return score.astype(np.float32), label, random.choice([0.0, 1.0, 3.0], ROWS)


def data(folder, *parts):
    """Examples of one split, from a column of weights in each part."""
    with artifacts.writing(folder / "examples", examples.SCHEMA) as draft:
        (draft.path / "train").mkdir()
        for number, part in enumerate(parts):
            table = pa.table({"w": part})
            pq.write_table(table, draft.path / "train" / f"part-{number:05d}.parquet")
        draft.metadata["splits"] = {"train": {"rows": sum(map(len, parts))}}
    return artifacts.read(folder / "examples", examples.SCHEMA)


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification"])
@pytest.mark.parametrize("binned", [False, True])
def test_metrics_are_those_of_rows_that_are_there_as_often(weighted, task, binned, monkeypatch):
    score, label, weight = weighted
    if binned:
        monkeypatch.setattr(metrics, "ROWS", 100)
    prediction = score[:, None] if task[0] == "b" else np.stack([1 - score, score], axis=1)
    often = np.repeat(np.arange(ROWS), weight.astype(int))
    once, by_weight = metrics.metric(task, 0.4), metrics.metric(task, 0.4)
    for piece in np.array_split(np.arange(ROWS), 3):
        by_weight.add(prediction[piece], label[piece], weight[piece])
    once.add(prediction[often], label[often])
    assert by_weight.result() == pytest.approx(once.result(), rel=1e-12)
    drawn = curves.of(task, label, prediction.squeeze(), weight)
    repeated = curves.of(task, label[often], prediction[often].squeeze())
    assert np.allclose(drawn.table, repeated.table)
    assert np.allclose(drawn.confusion(), repeated.confusion())
    assert (drawn.rows, repeated.rows) == (ROWS, len(often))
    assert drawn.effective_rows == pytest.approx(weight.sum() ** 2 / (weight**2).sum())


def test_a_decision_threshold_is_that_of_rows_that_are_there_as_often(weighted):
    score, label, weight = weighted
    often = np.repeat(np.arange(ROWS), weight.astype(int))
    one, other, plain = (metrics.Binary(0.5) for _ in range(3))
    one.add(score[:, None], label, weight)
    other.add(score[often, None], label[often])
    plain.add(score[:, None], label)
    for goal in map(parse, ("f1", "recall>=0.9", "cost:false_negative=3,false_positive=1")):
        assert goal is not None
        assert choose(goal, one.by_score()).to_json() == choose(goal, other.by_score()).to_json()
    merged = metrics.Binary(0.5)
    merged.merge(one)
    assert merged.result() == one.result() != plain.result()


def test_a_squared_error_is_weighted():
    found = metrics.metric("regression", 0.5)
    found.add(np.array([[1.0], [2.0], [9.0]]), np.zeros(3), np.array([3.0, 1.0, 0.0]))
    assert found.result() == {"mean_squared_error": 7 / 4}


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([1.0, -1.0, None], "is -1 in row 1 of train/part-00001.parquet, and 2 of its 3 rows are"),
        ([1.0, None], "is missing or NaN in row 1"),
        ([float("inf")], "is inf in row 0"),
        (["1"], "holds string: weigh by a column of numbers"),
        ([True], "holds bool"),
        ([[1.0], [1.0, 2.0]], "does not have one value in row 1 of train/part-00001.parquet"),
        ([[1.0], None], "does not have one value in row 1"),
    ],
)
def test_what_is_no_weight_is_refused(tmp_path, column, said):
    good = [[1.0]] if isinstance(column[0], list) else [1]
    found = data(tmp_path, pa.array(good), pa.array(column))
    with pytest.raises(EdgelineError) as raised:
        example_weights.check(found, "w", ["train"])
    assert said in str(raised.value)


def test_weights_of_0_alone_and_an_absent_column_are_refused(tmp_path):
    found = data(tmp_path, pa.array([0, 0]), pa.array([0.0]))
    with pytest.raises(EdgelineError, match=r"'w' is 0 in split 'train' \(3 rows\)"):
        example_weights.check(found, "w", ["train"])
    with pytest.raises(EdgelineError, match="no such column: they have w"):
        example_weights.check(found, "weight", ["train"])


def test_whole_numbers_and_lists_of_one_are_weights(tmp_path):
    found = data(tmp_path, pa.array([[2], [0]]), pa.array([[4]]))
    example_weights.check(found, "w", ["train"])
    assert example_weights.mean(found, "train", "w") == 2
