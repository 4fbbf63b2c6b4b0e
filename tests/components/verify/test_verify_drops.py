"""How large a drop of a metric some rows leave open: compared with chance itself, many times."""

import numpy as np
import pytest

from edgeline.artifacts.shares import at_most
from edgeline.components.verify.drops import Drops


def bound(task, cloud, edge, label, batches=3):
    drops = Drops(task, 0.5)
    for part in np.array_split(np.arange(len(label)), batches):
        drops.add(cloud[part], edge[part], label[part])
    return drops.at_most()


def column(values):
    return np.asarray(values, np.float32).reshape(-1, 1)


def scores(random, rows):
    """Labels, and scores of two models of which the second is worse by about 0.02 of AUC."""
    label = (random.random(rows) < 0.3).astype(float)
    quality = random.normal(size=rows) + 1.2 * label
    return column(quality), column(quality + 0.35 * random.normal(size=rows)), label


def auc(score, label):
    ranks = np.argsort(np.argsort(score[:, 0])) + 1
    positive = label > 0.5
    count = positive.sum()
    return (ranks[positive].sum() - count * (count + 1) / 2) / (count * (~positive).sum())


def test_a_bound_of_auc_holds_in_95_of_100_draws_and_is_no_wider_than_it_must_be():
    random = np.random.default_rng(3)
    cloud, edge, label = scores(random, 100_000)
    true = auc(cloud, label) - auc(edge, label)
    found, widths = [], []
    for _ in range(400):
        most = bound("binary_classification", *scores(random, 300))["auc"]
        found.append(most >= true)
        widths.append(most - true)
    assert 0.93 <= np.mean(found) <= 0.985
    assert np.median(widths) < 0.04


def test_a_bound_of_an_error_holds_in_95_of_100_draws():
    random = np.random.default_rng(4)
    kept = []
    for _ in range(1000):
        label = random.normal(size=200)
        cloud = column(label + random.normal(size=200))
        edge = cloud + column(0.3 * random.normal(size=200))
        most = bound("regression", cloud, edge, label)["mean_squared_error"]
        kept.append(most >= 0.09)  # variances add: 1.09 times the error
    assert 0.92 <= np.mean(kept) <= 0.98


def test_few_rows_show_little_even_where_nothing_differs():
    random = np.random.default_rng(5)
    cloud, _, label = scores(random, 40)
    found = bound("binary_classification", cloud, cloud, label)
    rarer = int(min(label.sum(), (1 - label).sum()))
    assert found == {"auc": at_most(0, rarer), "accuracy": at_most(0, 40)}
    assert found["auc"] > 0.1
    same = bound("regression", cloud, cloud, label)["mean_squared_error"]
    assert same == pytest.approx(0, abs=1e-12)


def test_accuracy_counts_the_rows_that_the_cloud_model_alone_gets_right():
    cloud, edge = np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[0, 2, 2, 1]]
    found = bound("multiclass_classification", cloud, edge, np.array([0.0, 1.0, 1.0, 1.0]))
    assert found == {"accuracy": at_most(1, 4)}


def test_too_few_rows_tell_nothing():
    one = column([0.5])
    assert bound("regression", one, one, np.ones(1), 1) == {"mean_squared_error": None}
    found = bound("binary_classification", one, one, np.ones(1), 1)
    assert found["auc"] is None
    nothing = np.zeros((0, 1), np.float32)
    assert bound("regression", nothing, nothing, np.zeros(0), 1) == {"mean_squared_error": None}
    none = bound("binary_classification", nothing, nothing, np.zeros(0), 1)
    assert none == {"auc": None, "accuracy": None}
