"""Quantisation-aware training, pruning and clustering of a taxi network, short and real."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.components.convert.convert import convert
from edgeline.components.ingest.ingest import ingest
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.optimising import Optimisation
from edgeline.components.train.train import train
from edgeline.components.transform.transform import transform
from edgeline.components.validate.validate import validate
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.verify import verify
from edgeline.errors import EdgelineError
from edgeline.runtimes import interpreter

pytestmark = pytest.mark.slow

PIPELINES = Path(__file__).parents[3] / "pipelines"
TAXI, DIGITS = PIPELINES / "taxi" / "module.py", PIPELINES / "digits"


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
    import tensorflow as tf

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


@pytest.mark.long
def test_clustered_weights_share_a_few_values(folder):
    model = run(folder, "clustering", clusters=8)
    assert all(len(np.unique(values)) <= 8 for values in kernels(model))
    assert model.metadata["metrics"]["val_auc"] > 0.8


@pytest.fixture
def in_this_process(monkeypatch):
    from edgeline.runtimes import child

    monkeypatch.setattr(child, "call", lambda work, *given, **_: work(len, *given))


@pytest.mark.long
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
    from edgeline.artifacts import examples, features

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


@pytest.mark.long
@pytest.mark.usefixtures("in_this_process")
def test_digits_trained_for_int8_lose_at_most_half_a_point_to_it(tmp_path):
    model, edge = tmp_path / "model", tmp_path / "edge"
    source = (DIGITS / "module.py").read_text()
    legacy = source.replace(
        "    import keras\n\n    image", "    import tf_keras as keras\n\n    image"
    )
    assert legacy != source
    (tmp_path / "legacy.py").write_text(legacy)
    digits = {name: str(tmp_path / name) for name in ("examples", "schema", "graph", "transformed")}
    page, module = str(tmp_path / "page.html"), str(tmp_path / "legacy.py")
    ingest(str(DIGITS / "digits.parquet"), digits["examples"], images={"image": [28, 28, 1]})
    facts = (str(tmp_path / "statistics"), digits["schema"], str(tmp_path / "anomalies"))
    validate(digits["examples"], *facts, page, on_anomalies="flag")
    transform(*(digits[n] for n in ("examples", "schema")), module, digits["graph"],
              digits["transformed"], page)  # fmt: skip
    how = Fitting("digit", steps=200, batch_size=64, steps_per_epoch=100,
                  optimisation=Optimisation("qat"))  # fmt: skip
    task = "multiclass_classification"
    train(digits["transformed"], digits["graph"], module, task, how, str(model), page)
    convert(str(model), digits["examples"], str(edge), page, "int8")
    found = verify(model, edge, digits["examples"], tmp_path / "verification", page, Limits())
    accuracy = found.metadata["metrics"]["accuracy"]
    assert accuracy["cloud"] > 0.94
    assert accuracy["cloud"] - accuracy["edge"] <= 0.005


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
