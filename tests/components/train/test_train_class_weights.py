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


def rows(path, *labels):
    """Transformed examples of a split each, which tell nothing of their labels."""
    with artifacts.writing(path, examples.TRANSFORMED_SCHEMA) as draft:
        draft.metadata["splits"] = {}
        for split, values in zip(("train", "eval"), labels, strict=False):
            columns = {"x": np.zeros(len(values), np.float32), "y": np.array(values)}
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
        ("yes=0", "'yes=0' is no weight above 0: give balanced, or"),
        ("yes=2,", "'' is no weight above 0"),
        ("yes", "'yes' is no weight above 0"),
        ("yes=nan", "'yes=nan' is no weight"),
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
