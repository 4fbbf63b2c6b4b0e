"""Rare classes count more in the loss, as scikit-learn weighs them or as somebody says."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.features import Feature
from edgeline.components.train import class_weights
from edgeline.components.train.fitting import Fitting, fit
from edgeline.errors import EdgelineError

X, LABEL = Feature("x", "float32"), Feature("y", "int64")
MODULE = """
import keras

def build_model(features, hyperparameters):
    x = keras.Input((1,), name="x")
    out = keras.layers.Dense(1, activation="sigmoid")(x)
    model = keras.Model({"x": x}, out)
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
    return model
"""


OWN_METRICS = (
    '"binary_crossentropy", metrics=["mae"], '
    'weighted_metrics=["mse", keras.metrics.MeanSquaredError(name="own")]'
)


def rows(path, *labels, weights=(), told=True):
    """Transformed examples of a split each, which tell nothing of their labels.

    With weights, `x` is the weight, unless that is told to be 0, too.
    """
    with artifacts.writing(path, examples.TRANSFORMED_SCHEMA) as draft:
        draft.metadata["splits"] = {}
        for split, values in zip(("train", "eval"), labels, strict=False):
            columns = {"x": np.zeros(len(values), np.float32), "y": np.array(values)}
            if weights:
                columns["w"] = np.array(weights[("train", "eval").index(split)])
                columns["x"] = columns["w"].astype(np.float32) * told
                draft.metadata["weight_column"] = "w"
            (draft.path / split).mkdir()
            pq.write_table(pa.table(columns), draft.path / split / "part-00000.parquet")
            draft.metadata["splits"][split] = {"rows": len(values)}
        draft.metadata["features"] = [feature.to_json() for feature in (X, LABEL)]
    return artifacts.read(path, examples.TRANSFORMED_SCHEMA)


def of(folder, given, values, names=None):
    return class_weights.of(given, rows(folder / "rows", values), "train", LABEL, names)


def test_balanced_is_what_scikit_learn_computes(tmp_path) -> None:
    found = of(tmp_path, "balanced", [0] * 6 + [1] * 3 + [3], list("abcd"))
    # compute_class_weight("balanced", classes=[0, 1, 3], y=...): 10 / (3 * [6, 3, 1])
    assert found.values[[0, 1, 3]] == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert found.rows == (6, 3, 0, 1)
    assert found.to_json().keys() == set("abcd")


def test_weights_are_by_name_or_number_and_others_are_one(tmp_path) -> None:
    assert of(tmp_path, "", [0, 1]) is None
    found = of(tmp_path, "yes=20, 0=0.5", [0, 1, 2], ["no", "yes", "perhaps"])
    assert found.values.tolist() == [0.5, 20, 1]
    assert of(tmp_path / "a", "1=3", [0, 1]).to_json() == {"0": 1.0, "1": 3.0}
    assert of(tmp_path / "b", "a=b=2", [0, 1], ["a=b", "c"]).values.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("Yes=2", "names a class 'Yes', which does not exist. Did you mean yes?"),
        ("2=2", "names a class '2', which does not exist"),
        ("yes=0", "'yes=0' is not a weight above 0: give balanced, or"),
        ("yes=2,", "'' is not a weight above 0"),
        ("yes", "'yes' is not a weight above 0"),
        ("yes=nan", "'yes=nan' is not a weight"),
        ("yes=1,1=2", "names class 'yes' twice"),
    ],
)
def test_what_is_none_is_refused_in_a_sentence(tmp_path, given: str, said: str) -> None:
    with pytest.raises(EdgelineError) as raised:
        of(tmp_path, given, [0, 1], ["no", "yes"])
    assert said in str(raised.value)


def test_a_label_without_classes_is_refused(tmp_path) -> None:
    with pytest.raises(EdgelineError, match=r"'y' is \[-1\] in row 2 of split 'train'"):
        of(tmp_path, "balanced", [0, 1, -1])
    with pytest.raises(EdgelineError, match=r"'y' is \[2\] in row 1"):
        of(tmp_path / "named", "balanced", [0, 2], ["no", "yes"])
    with pytest.raises(EdgelineError, match="the task is regression, which has no classes"):
        class_weights.check("balanced", "regression")


def test_balanced_classes_weigh_the_same_where_rows_have_weights(tmp_path) -> None:
    labels, weights = [0, 0, 0, 1], [1.0, 2.0, 1.0, 2.0]
    transformed = rows(tmp_path / "rows", labels, weights=[weights])
    found = class_weights.of("balanced", transformed, "train", LABEL, None)
    mass = {0: 4.0, 1: 2.0}
    assert found.values.tolist() == [6 / (2 * mass[0]), 6 / (2 * mass[1])]
    assert found.rows == (3, 1)


def test_a_batch_has_the_weights_of_its_rows_and_classes(tmp_path) -> None:
    """Weights of rows are 1 on average, and multiplied with those of classes."""
    from edgeline.components.train import dataset

    labels, weights = [0, 1] * 8, [float(number) for number in range(16)]
    transformed = rows(tmp_path / "rows", labels, labels, weights=[weights, weights])
    given = dataset.RowWeights.of(transformed, "train")
    assert given == dataset.RowWeights("w", 7.5)
    batches = dataset.training_batches(
        transformed, "train", [X, LABEL], "y", 16, [0], np.array([1.0, 10.0], np.float32), given
    )
    x, label, weight = next(iter(batches))
    expected = x["x"][:, 0].numpy() / 7.5 * np.where(label.numpy()[:, 0], 10, 1)
    assert weight.numpy() == pytest.approx(expected)
    [(x, _, weight)] = dataset.evaluation_batches(transformed, "eval", [X, LABEL], "y", given)
    assert weight.numpy() == pytest.approx(x["x"][:, 0].numpy() / 7.5)


@pytest.mark.slow
def test_weights_of_rows_count_in_the_loss_and_in_the_metrics(tmp_path) -> None:
    """Rows of yes weigh 9 times as much, so a model that is told nothing learns one half."""
    from edgeline.components.train import judging, weighing

    (tmp_path / "module.py").write_text(MODULE.replace('"binary_crossentropy"', OWN_METRICS))
    labels = ([0] * 9 + [1]) * 40
    weights = [[9000.0 if label else 1000.0 for label in labels]] * 2
    transformed = rows(tmp_path / "rows", labels, labels, weights=weights, told=False)
    how = Fitting("y", 300, 40, steps_per_epoch=100)
    model, state = fit(str(tmp_path / "module.py"), transformed, {}, how, tmp_path / "kept")
    assert float(model({"x": np.zeros((1, 1), np.float32)})[0, 0]) == pytest.approx(0.5, abs=0.05)
    assert state.history["val_loss"][-1] == pytest.approx(np.log(2), abs=0.01)
    judged = judging.judge(model, transformed, "binary_classification", how)
    assert judged["accuracy"] == pytest.approx(0.5)
    assert weighing.note("w", model, state.history) == (
        "weighted by w, but in mae each row counts once, as build_model compiles it in metrics "
        "and not in weighted_metrics"
    )


@pytest.mark.slow
def test_the_model_learns_the_weighted_share(tmp_path) -> None:
    """Of features that tell nothing a model learns the share of yes, of one tenth or one half."""
    (tmp_path / "module.py").write_text(MODULE)
    labels = ([0] * 9 + [1]) * 40
    transformed = rows(tmp_path / "rows", labels, labels)
    learned = {}
    for given in ("", "balanced", "1=9"):
        how = Fitting("y", 300, 40, steps_per_epoch=100, class_weights=given)
        weights = class_weights.of(given, transformed, "train", LABEL, None)
        folder = tmp_path / f"checkpoints-{given}"
        model, _ = fit(str(tmp_path / "module.py"), transformed, {}, how, folder, weights)
        learned[given] = float(model({"x": np.zeros((1, 1), np.float32)})[0, 0])
    assert learned[""] == pytest.approx(0.1, abs=0.03)
    assert learned["balanced"] == pytest.approx(0.5, abs=0.05)
    assert learned["1=9"] == pytest.approx(0.5, abs=0.05)
    json.dumps(class_weights.of("balanced", transformed, "train", LABEL, None).to_json())
