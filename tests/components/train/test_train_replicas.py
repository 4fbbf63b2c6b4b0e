"""One step on several replicas: the weights of one device, and everything that is compiled in.

TensorFlow's devices are fixed when it begins, so two processors that MirroredStrategy takes for
devices need a process of their own; what they do is what several GPUs would be asked.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.features import Feature
from edgeline.components.train.fitting import Fitting, fit
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

ROWS = 480
MODULE = """
import keras

class Margin(keras.losses.Loss):
    def call(self, truth, prediction):
        return keras.ops.mean(keras.ops.square(truth - prediction), axis=-1)

def build_model(features, given):
    x = keras.Input((3,), name="x")
    hidden = keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.01))(x)
    hidden = keras.layers.BatchNormalization(momentum=0.9)(hidden)
    if given.get("dropout"):
        hidden = keras.layers.Dropout(0.5)(hidden)
    model = keras.Model({"x": x}, keras.layers.Dense(1, "sigmoid")(hidden))
    rate = keras.optimizers.schedules.ExponentialDecay(0.02, 5, 0.9)
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0),
        Margin(),
        metrics=["accuracy", keras.metrics.AUC(name="auc")],
        weighted_metrics=[keras.metrics.TruePositives(name="hits")],
    )
    return model
"""
CHILD = """
import json, sys
from pathlib import Path
import numpy as np
import tensorflow as tf
from edgeline import artifacts
from edgeline.components.train import class_weights, replicas
from edgeline.components.train.fitting import Fitting, fit

folder, place = Path(sys.argv[1]), Path(sys.argv[2])
(cpu,) = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
replicas.local_strategy = lambda batch_size: strategy
transformed = artifacts.read(folder / "transformed", "transformed_examples/v1")
weights = class_weights.ClassWeights(("0", "1"), (0, 0), np.array([1.0, 3.0], np.float32))
for name, given, how, checkpoints in json.loads(sys.argv[3]):
    model, state = fit(str(folder / "module.py"), transformed, given, Fitting("y", **how),
                       place / checkpoints, weights)
    assert not any(hasattr(v.value, "values") for v in model.variables), "still mirrored"
    np.savez(place / f"{name}.npz", *model.get_weights())
    (place / f"{name}.json").write_text(json.dumps(state.history))
"""
HOW = {"steps": 12, "steps_per_epoch": 4}
DROPOUT = {"dropout": True}
TRAINED = [  # with the folder of their checkpoints
    ("plain", {}, HOW, "a"),
    ("dropout", DROPOUT, HOW, "b"),
    ("stopped", DROPOUT, {**HOW, "steps": 8}, "c"),
    ("resumed", DROPOUT, HOW, "c"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """480 rows to train and 5,000 to evaluate on, which are two batches."""
    folder = tmp_path_factory.mktemp("replicas")
    write_rows(folder / "transformed", {"train": ROWS, "eval": 5000})
    (folder / "module.py").write_text(MODULE)
    return folder


def write_rows(path, rows):
    random = np.random.default_rng(0)
    with artifacts.writing(path, examples.TRANSFORMED_SCHEMA) as draft:
        draft.metadata["splits"] = {}
        for split, count in rows.items():
            x = random.normal(size=(count, 3)).astype(np.float32)
            y = (x @ [1.0, -2.0, 0.5] + random.normal(size=count) > 0).astype(np.int64)
            lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 3)
            (draft.path / split).mkdir()
            pq.write_table(
                pa.table({"x": lists, "y": y}), draft.path / split / "part-00000.parquet"
            )
            draft.metadata["splits"][split] = {"rows": count}
        features = [Feature("x", "float32", (3,)), Feature("y", "int64")]
        draft.metadata["features"] = [feature.to_json() for feature in features]


@pytest.fixture(scope="module")
def mirrored(folder, tmp_path_factory):
    """Weights and history of each of TRAINED, on two devices."""
    place = tmp_path_factory.mktemp("mirrored")
    command = [sys.executable, "-c", CHILD, str(folder), str(place), json.dumps(TRAINED)]
    subprocess.run(command, check=True, timeout=300)
    found = {}
    for name, *_ in TRAINED:
        with np.load(place / f"{name}.npz") as arrays:
            weights = [arrays[key] for key in arrays.files]
        found[name] = weights, json.loads((place / f"{name}.json").read_text())
    return found


@pytest.fixture(scope="module")
def alone(folder, tmp_path_factory):
    """The same on one device."""

    def run(given, how):
        import numpy as np

        from edgeline.components.train.class_weights import ClassWeights

        transformed = artifacts.read(folder / "transformed", examples.TRANSFORMED_SCHEMA)
        weights = ClassWeights(("0", "1"), (0, 0), np.array([1.0, 3.0], np.float32))
        place = tmp_path_factory.mktemp("alone")
        source = str(folder / "module.py")
        return fit(source, transformed, given, Fitting("y", **how), place, weights)

    return run


def test_two_devices_give_the_weights_and_metrics_of_one(mirrored, alone):
    """Loss, class weights, regularizer, schedule, clipping, normalisation by the whole batch."""
    network, state = alone({}, HOW)
    weights, history = mirrored["plain"]
    for one, two in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-6, rtol=1e-5)
    assert history.keys() == state.history.keys()
    for name, values in state.history.items():
        assert history[name] == pytest.approx(values, abs=2e-4), name


def test_each_device_drops_out_by_itself_and_a_training_goes_on_alike(mirrored):
    weights, history = mirrored["dropout"]
    resumed, again = mirrored["resumed"]
    assert [x.tobytes() for x in resumed] == [x.tobytes() for x in weights]
    assert again == history


def test_shares_are_the_batches_of_one_in_their_order(folder):
    from edgeline.components.train import dataset
    from edgeline.components.train.dataset import Share

    transformed = artifacts.read(folder / "transformed", examples.TRANSFORMED_SCHEMA)
    columns = [Feature("x", "float32", (3,)), Feature("y", "int64")]

    def batches(take, share):
        found = dataset.training_batches(
            transformed, "train", columns, "y", 24, [0, 0], share=share
        )
        return [features["x"].numpy() for features, _ in found.take(take)]

    whole = batches(30, Share())  # more than one round of the rows
    for count, here in ((2, 1), (3, 1), (2, 2), (1, 3)):
        parts = [batches(30 * here, Share(index, count, here)) for index in range(count)]
        for place, batch in enumerate(whole):
            own = [each for part in parts for each in part[place * here : (place + 1) * here]]
            np.testing.assert_array_equal(np.concatenate(own), batch)


def test_every_row_is_evaluated_by_one_process(folder):
    from edgeline.components.train import dataset
    from edgeline.components.train.dataset import Share

    transformed = artifacts.read(folder / "transformed", examples.TRANSFORMED_SCHEMA)
    columns = [Feature("x", "float32", (3,)), Feature("y", "int64")]
    counts = []
    for index in range(3):
        share = Share(index, 3)
        found = dataset.evaluation_batches(transformed, "eval", columns, "y", share=share)
        counts.append(sum(len(y) for _, y in found))
    assert counts == [4096, 904, 0]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"workers": 0}, "'workers' is 0: give a whole number of at least 1"),
        ({"workers": 3}, "'batch_size' is 40, which 3 workers cannot share equally: give a mult"),
        ({"workers": 2, "jit_compile": True}, "'jit_compile' is set with 2 workers, but XLA"),
        ({"workers": 2, "mixed_precision": "float16"}, "'float16', whose loss each worker would"),
        ({"mixed_precision": "fp8"}, "'mixed_precision' is 'fp8': choose one of bfloat16, float16"),
        ({"workers": 2}, "The 2 workers have left no checkpoint after epoch 0 of 1: see what"),
    ],
)
def test_what_cannot_be_shared_is_refused(given, sentence, folder, tmp_path):
    transformed = artifacts.read(folder / "transformed", examples.TRANSFORMED_SCHEMA)
    with pytest.raises(EdgelineError, match=sentence):
        fit(str(folder / "module.py"), transformed, {}, Fitting("y", 4, **given), tmp_path)


@pytest.mark.parametrize("kind", ["bfloat16", pytest.param("float16", marks=pytest.mark.long)])
def test_mixed_precision_trains_in_it_and_gives_a_network_in_float32(kind, alone, monkeypatch):
    import keras

    seen = []
    fitted = keras.Model.fit
    monkeypatch.setattr(
        keras.Model, "fit", lambda model, *a, **k: seen.append(model) or fitted(model, *a, **k)
    )
    network, state = alone({}, {**HOW, "mixed_precision": kind})
    assert {layer.compute_dtype for layer in seen[0].layers[1:]} == {kind}
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    plain, of_plain = alone({}, HOW)
    assert state.history["loss"] == pytest.approx(of_plain.history["loss"], rel=0.05)
    assert state.history["loss"] != of_plain.history["loss"]
    for mixed, full in zip(network.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(mixed, full, atol=0.05)


def test_xla_compiles_the_step_where_it_is_asked_to(alone, monkeypatch):
    import keras

    seen = []
    fitted = keras.Model.fit
    monkeypatch.setattr(
        keras.Model, "fit", lambda model, *a, **k: seen.append(model) or fitted(model, *a, **k)
    )
    network, _ = alone({}, {**HOW, "jit_compile": True})
    plain, _ = alone({}, HOW)
    assert [model.jit_compile for model in seen[:1] + seen[-1:]] == [True, False]
    for one, two in zip(network.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5)
