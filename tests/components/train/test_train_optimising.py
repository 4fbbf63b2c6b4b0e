"""Quantisation-aware training, pruning and clustering of a taxi network, short and real."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgeline import artifacts, interpreter, models
from edgeline.components.convert.convert import convert
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.optimising import Optimisation
from edgeline.components.train.train import train
from edgeline.errors import EdgelineError

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tensorflow_model_optimization")

TAXI = Path(__file__).parents[3] / "pipelines" / "taxi" / "module.py"


@pytest.fixture(scope="module")
def folder(transformed_taxi):
    source = TAXI.read_text()
    legacy = source.replace(
        "    import keras\n\n    inputs", "    import tf_keras as keras\n\n    inputs"
    )
    assert legacy != source
    (transformed_taxi.folder / "legacy.py").write_text(legacy)
    return transformed_taxi.folder


def run(folder, kind, module="legacy.py", patience=0, **settings):
    how = Fitting(
        label="big_tip",
        steps=150,
        steps_per_epoch=50,
        seed=1,
        patience=patience,
        optimisation=Optimisation(kind, **settings),
    )
    model = folder / f"model-{kind or 'plain'}"
    train(
        *(str(folder / name) for name in ("transformed", "graph", module)),
        "binary_classification",
        how,
        str(model),
        str(folder / "optimised.html"),
        {"hidden_units": [32, 16]},
    )
    return artifacts.read(model, models.SCHEMA)


def kernels(model):
    loaded = tf.saved_model.load(str(models.saved_model_path(model)))
    assert set(loaded.signatures) == {
        *(models.SERVING, models.EVALUATE, models.TRANSFORM, models.PREDICT_TRANSFORMED)
    }
    found = [variable.numpy() for variable in loaded.network.variables]
    return [values for values in found if values.ndim == 2]


def test_pruned_weights_are_zero(folder):
    model = run(folder, "pruning", sparsity=0.75)
    for values in kernels(model):
        assert np.mean(values == 0) == pytest.approx(0.75, abs=0.75 / values.size + 1e-3)
    assert model.metadata["metrics"]["val_auc"] > 0.8
    assert "pruning" in (folder / "optimised.html").read_text()


def test_clustered_weights_share_a_few_values(folder):
    model = run(folder, "clustering", clusters=8)
    assert all(len(np.unique(values)) <= 8 for values in kernels(model))
    assert model.metadata["metrics"]["val_auc"] > 0.8


@pytest.fixture
def in_this_process(monkeypatch):
    from edgeline.components.convert import child

    monkeypatch.setattr(child, "call", lambda work, *given, **_: work(len, *given))


@pytest.mark.usefixtures("in_this_process")
def test_quantisation_aware_training_leaves_less_for_int8_to_change(folder):
    accuracy, difference = {}, {}
    for kind in ("", "qat"):
        model = run(folder, kind)
        edge = folder / f"edge-{kind or 'plain'}"
        convert(
            str(model.path), str(folder / "examples"), str(edge), str(folder / "c.html"), "int8"
        )
        kinds = {row["name"]: row for row in json.loads((edge / "operators.json").read_text())}
        assert kinds["FULLY_CONNECTED"]["gives"] == ["INT8"]
        accuracy[kind], difference[kind] = judged(folder, model, edge)
    assert difference["qat"] < difference[""]
    assert accuracy["qat"] >= accuracy[""]


def judged(folder, model, edge):
    """Accuracy on the eval rows, and the mean difference from the trained model."""
    from edgeline import examples, features

    evaluate, takes = models.load_signature(model, models.EVALUATE)
    runtime = interpreter.load(edge / "model.tflite")
    right, apart = [], []
    raw = artifacts.read(folder / "examples", examples.SCHEMA)
    for batch in examples.read_batches(raw, "eval"):
        rows = features.to_numpy(batch, takes)
        given = {tensor.name: rows[tensor.name] for tensor in runtime.signature.inputs}
        cloud, prediction = evaluate(rows), runtime(given)["prediction"]
        right.append((prediction > 0.5) == (cloud["label"] > 0.5))
        apart.append(np.abs(prediction - cloud["prediction"]))
    return float(np.mean(np.concatenate(right))), float(np.mean(np.concatenate(apart)))


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        ("magic", {}, "'optimisation' is 'magic': choose one of qat, pruning, clustering"),
        ("pruning", {"sparsity": 1.0}, "'sparsity' is 1.0: give one within"),
        ("clustering", {"clusters": 1}, "'clusters' is 1: give at least 2"),
        ("qat", {"patience": 2}, "set patience to 0"),
        ("qat", {"module": str(TAXI)}, "say `import tf_keras as keras` in build_model"),
    ],
)
def test_what_does_not_fit_is_named(folder, kind, settings, sentence):
    with pytest.raises(EdgelineError, match=sentence):
        run(folder, kind, **settings)
