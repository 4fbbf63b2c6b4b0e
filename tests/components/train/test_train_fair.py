"""Groups of rows are weighed as Kamiran and Calders say, or brought together by a penalty."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.fairness import GROUP, FairnessSettings, parse
from edgeline.artifacts.features import Feature
from edgeline.components.train.fair_training import group_weights, variance
from edgeline.components.train.fitting import Fitting, fit
from edgeline.components.train.workers import SharedTraining
from edgeline.errors import EdgelineError

X, LABEL = Feature("x", "float32"), Feature("y", "int64")
MODULE = """
import keras

class Own(keras.Model):
    def train_step(self, data):
        return OWN

def build_model(features, hyperparameters):
    x = keras.Input((1,), name="x")
    out = keras.layers.Dense(1, activation="sigmoid")(x)
    model = (Own if hyperparameters.get("own") else keras.Model)({"x": x}, out)
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    return model
"""
OWN = "super().train_step(data)"
REWEIGHING = FairnessSettings("town", "reweighing", min_rows=1)


@pytest.fixture
def module(tmp_path):
    (tmp_path / "module.py").write_text(MODULE.replace("OWN", OWN))
    return str(tmp_path / "module.py")


def transformed(path, groups, labels, x=None, weights=None, group="town"):
    """Transformed examples of a split each, with the rows' groups."""
    with artifacts.writing(path, examples.TRANSFORMED_SCHEMA) as draft:
        draft.metadata["splits"] = {}
        for split in ("train", "eval"):
            values = np.zeros(len(labels)) if x is None else x
            columns = {"x": np.float32(values), "y": np.array(labels), GROUP: groups}
            if weights is not None:
                columns["w"] = np.array(weights, float)
                draft.metadata["weight_column"] = "w"
            (draft.path / split).mkdir()
            pq.write_table(pa.table(columns), draft.path / split / "part-00000.parquet")
            draft.metadata["splits"][split] = {"rows": len(labels)}
        draft.metadata["features"] = [feature.to_json() for feature in (X, LABEL)]
        draft.metadata[GROUP] = group
    return artifacts.read(path, examples.TRANSFORMED_SCHEMA)


def biased(path, rows=2000, **more):
    """Two towns: `x` tells the town, and of one twice as many rows are positive."""
    random = np.random.default_rng(0)
    town = random.integers(0, 2, rows)
    label = (random.random(rows) < np.where(town, 0.6, 0.2)).astype(np.int64)
    x = town + 0.7 * label + random.normal(0, 0.3, rows)
    return transformed(path, np.array(["a", "b"])[town].tolist(), label, x, **more), town, label, x


def test_weights_make_group_and_label_independent(tmp_path) -> None:
    groups, labels = ["a"] * 6 + ["b"] * 4, [1, 1, 1, 1, 0, 0, 1, 0, 0, 0]
    found = group_weights(REWEIGHING, transformed(tmp_path / "t", groups, labels), "train", LABEL)
    # P(g) P(y) / P(g, y): 0.6 * 0.5 / 0.4 for a row of a with 1
    assert found.values == ("a", "b")
    assert found.table == pytest.approx(
        np.array([[0.6 * 0.5 / 0.2, 0.6 * 0.5 / 0.4], [0.4 * 0.5 / 0.3, 0.4 * 0.5 / 0.1]]), rel=1e-6
    )
    [batch] = examples.read_batches(transformed(tmp_path / "u", groups, labels), "train")
    weights = found(batch)
    assert weights.sum() == pytest.approx(10)
    assert weights[:6] @ np.array(labels[:6]) / 6 == pytest.approx(0.5)


def test_rows_with_weights_and_missing_groups_and_small_ones(tmp_path) -> None:
    groups, labels = ["a", "a", None, "", "b"], [0, 1, 0, 1, 1]
    made = transformed(tmp_path / "t", groups, labels, weights=[3, 1, 1, 1, 9])
    settings = replace(REWEIGHING, min_rows=2)
    before = lambda batch: batch.column("w").to_numpy()  # noqa: E731
    found = group_weights(settings, made, "train", LABEL, before, ("w",))
    assert found.values == ("a", "b", "(missing)") and found.small == ["b"]
    assert "left out, with fewer than 2 rows: b" in found.note()
    [batch] = examples.read_batches(made, "train")
    weights = found(batch)
    assert weights[4] == 9  # of a small group as it was
    assert weights[:4] == pytest.approx([8 / 3, 4 / 3, 4 / 3, 2 / 3])
    with pytest.raises(EdgelineError, match="give transform the same fairness"):
        group_weights(replace(settings, group="city"), made, "train", LABEL)


def test_the_penalty_is_the_variance_of_the_groups_means() -> None:
    score, label = np.array([0.2, 0.4, 0.9, 0.7, 0.5]), np.array([0, 0, 0, 1, 1])
    group = np.array([0, 0, 1, 1, -1])  # the last is of a small group
    all_rows = np.array([0.3, 0.8])
    assert float(variance(score, label, group, 2, "demographic_parity")) == pytest.approx(
        np.var(all_rows), abs=1e-6
    )
    # of label 0: 0.3 of two rows and 0.9 of one; of label 1 a single group
    mean = (2 * 0.3 + 0.9) / 3
    odds = (2 * (0.3 - mean) ** 2 + (0.9 - mean) ** 2) / 3
    assert float(variance(score, label, group, 2, "equalised_odds")) == pytest.approx(
        odds, abs=1e-6
    )
    assert float(variance(score, label, group, 2, "equal_opportunity")) == pytest.approx(
        0, abs=1e-6
    )


def test_both_ways_bring_the_groups_together(tmp_path, module) -> None:
    made, town, _, x = biased(tmp_path / "t")

    def gap(name, fairness, **given):
        how = Fitting("y", 300, 200, steps_per_epoch=150, fairness=fairness)
        model, state = fit(module, made, given, how, tmp_path / name)
        score = model.predict({"x": x[:, None].astype(np.float32)}, verbose=0)[:, 0]
        assert state.epoch == 2 and set(state.history) >= {"accuracy", "val_loss"}
        return score[town == 1].mean() - score[town == 0].mean()

    plain = gap("plain", None)
    assert gap("reweighed", FairnessSettings("town", "reweighing")) < 0.9 * plain
    penalty = FairnessSettings("town", "penalty", "demographic_parity", weight=20.0)
    assert gap("penalised", penalty) < 0.5 * plain
    assert gap("own step", penalty, own=True) < 0.5 * plain  # of a network with a train_step


def test_a_step_that_leaves_the_loss_alone_is_refused(tmp_path) -> None:
    made, *_ = biased(tmp_path / "t", 200)
    other = 'data and {"loss": self.losses and 0.0 or 0.5}'
    (tmp_path / "other.py").write_text(MODULE.replace("OWN", other))
    how = Fitting("y", 4, 40, fairness=FairnessSettings("town", "penalty"))
    with pytest.raises(EdgelineError, match="does not call compute_loss"):
        fit(str(tmp_path / "other.py"), made, {"own": True}, how, tmp_path / "checkpoints")


def test_workers_are_told_of_fairness() -> None:
    how = Fitting("y", 4, fairness=REWEIGHING)
    told = SharedTraining("m", "t", "d", {}, how, None, "c", "k")
    assert SharedTraining.from_json(told.to_json()) == told
    json.loads(told.to_json())
    assert parse({}) is None
