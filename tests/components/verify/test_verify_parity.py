"""Differences, decisions and metrics against scipy, without TensorFlow."""

import numpy as np
import pytest

from edgeline.components.verify.parity import Batch, compare
from edgeline.errors import EdgelineError
from edgeline.runtimes import metrics
from edgeline.runtimes.metrics import metric


def batch(cloud, edge, label, **more):
    column = np.array(cloud, np.float32)
    raw = {"x": np.zeros((len(column), 1), np.float32)}
    return Batch(
        raw,
        {"prediction": column, "label": np.array(label)},
        {"prediction": np.array(edge, np.float32), **more},
    )


def test_auc_is_mann_and_whitneys_u_over_batches_and_ties():
    from scipy import stats

    random = np.random.default_rng(7)
    score = np.round(random.random(4000), 2)[:, None]
    label = (random.random(4000) < score[:, 0]).astype(np.int64)
    counted = metric("binary_classification", 0.5)
    for start in range(0, 4000, 700):
        counted.add(score[start : start + 700], label[start : start + 700])
    result = counted.result()

    good, bad = score[label == 1, 0], score[label == 0, 0]
    auc = stats.mannwhitneyu(good, bad).statistic / (len(good) * len(bad))
    assert result["auc"] == pytest.approx(auc, abs=1e-9)
    assert result["accuracy"] == np.mean((score[:, 0] > 0.5) == label)


@pytest.mark.parametrize("most", [1 << 22, 1500])
def test_parts_that_are_merged_count_as_one(monkeypatch, most):
    """Whether all scores are kept, or only how many lie in each of 65,536 bins."""
    monkeypatch.setattr(metrics, "ROWS", most)
    random = np.random.default_rng(8)
    score = random.random((4000, 1)).astype(np.float32)
    label = (random.random(4000) < score[:, 0]).astype(np.int64)
    whole, parts = metrics.Binary(0.5), metrics.Binary(0.5)
    whole.add(score, label)
    for start in range(0, 4000, 1000):
        part = metrics.Binary(0.5)
        part.add(score[start : start + 1000], label[start : start + 1000])
        parts.merge(part)
    assert parts.result() == whole.result()
    from scipy import stats

    good, bad = score[label == 1, 0], score[label == 0, 0]
    auc = stats.mannwhitneyu(good, bad).statistic / (len(good) * len(bad))
    assert whole.result()["auc"] == pytest.approx(auc, abs=1e-12 if most > 4000 else 1e-5)


def test_one_class_alone_has_no_auc():
    found = compare(
        [batch([[0.2], [0.7]], [[0.2], [0.7]], [0, 0])], 2, "binary_classification", 0.5
    )
    assert found.metrics["auc"] == {"cloud": None, "edge": None, "drop": None}


def test_multiclass_decides_by_the_largest():
    cloud, edge = [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], [[0.5, 0.4, 0.1], [0.5, 0.4, 0.1]]
    found = compare([batch(cloud, edge, [0, 1])], 2, "multiclass_classification", 0.5)
    assert found.changed_decisions == 1
    assert found.metrics["accuracy"] == {"cloud": 1.0, "edge": 0.5, "drop": 0.5}
    assert found.max_difference == pytest.approx(0.3, abs=1e-6)
    assert found.mean_difference == pytest.approx((0.1 + 0.1 + 0.3 + 0.3) / 6, abs=1e-6)
    assert [row.number for row in found.worst] == [1, 0]


def test_regression_has_no_decisions_and_relative_differences_above_one():
    found = compare(
        [batch([[1000.0], [2.0]], [[1001.0], [2.0]], [1000.0, np.nan])], 2, "regression", 0.5
    )
    assert found.changed_decisions == 0
    assert found.max_difference == pytest.approx(1e-3)
    assert found.labelled_rows == 1
    assert found.metrics["mean_squared_error"]["edge"] == 1.0


def test_nan_in_both_is_equal_and_on_one_side_counts():
    found = compare(
        [batch([[np.nan], [0.5]], [[np.nan], [np.nan]], [0, 1])], 2, "binary_classification", 0.4
    )
    assert (found.not_finite, found.changed_decisions, found.max_difference) == (1, 1, 0.0)
    assert found.histogram[0] == found.histogram[-1] == 1


def test_outputs_must_match():
    with pytest.raises(
        EdgelineError, match=r"shape \[1, 2\] on the edge, but \[1, 1\] in the cloud"
    ):
        compare([batch([[0.5]], [[0.5, 0.5]], [1])], 1, "binary_classification", 0.5)
    whole = batch([[0.5]], [[0.5]], [1])
    with pytest.raises(EdgelineError, match="no output 'prediction', only score"):
        compare(
            [Batch(whole.raw, whole.cloud, {"score": whole.edge["prediction"]})],
            1,
            "binary_classification",
            0.5,
        )
