"""Fitting on small made data: resumption, early stopping, and what a user may get wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.features import Feature
from edgeline.components.train.fitting import Fitting, fit
from edgeline.components.train.saving import CHECKPOINT_SCHEMA
from edgeline.components.train.train import train
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

FEATURES = [Feature("x", "float32", (3,)), Feature("y", "int64"), Feature("word", "string")]
MODULE = """
import keras

def build_model(features, hyperparameters):
    x = keras.Input(features["x"].shape[1:], name="x")
    hidden = keras.layers.Dense(8, activation="relu")(x)
    hidden = keras.layers.Dropout(0.3)(hidden)
    out = keras.layers.Dense(1, activation="sigmoid")(hidden)
    model = keras.Model({"x": x}, out)
    rate = hyperparameters.get("learning_rate", 0.01)
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    return model
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """400 rows to train and 100 to evaluate on, labels by a plane through noise."""
    folder = tmp_path_factory.mktemp("fitting")
    random = np.random.default_rng(0)
    with artifacts.writing(folder / "transformed", examples.TRANSFORMED_SCHEMA) as draft:
        draft.metadata["splits"] = {}
        for split, rows in {"train": 400, "eval": 100, "empty": 0}.items():
            x = random.normal(size=(rows, 3)).astype(np.float32)
            y = (x @ [1.0, -2.0, 0.5] + random.normal(size=rows) > 0).astype(np.int64)
            lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 3)
            columns = {"x": lists, "y": y, "word": pa.array([b"a"] * rows, pa.binary())}
            (draft.path / split).mkdir()
            pq.write_table(pa.table(columns), draft.path / split / "part-00000.parquet")
            draft.metadata["splits"][split] = {"rows": rows}
        draft.metadata["features"] = [feature.to_json() for feature in FEATURES]
    (folder / "module.py").write_text(MODULE)
    return folder


@pytest.fixture
def run(folder, tmp_path):
    """Fit, in a checkpoint folder of the test's own."""

    def work(module=MODULE, hyperparameters=None, **how):
        (tmp_path / "module.py").write_text(module)
        transformed = artifacts.read(folder / "transformed", examples.TRANSFORMED_SCHEMA)
        how = Fitting(**{"label": "y", "steps": 12, "steps_per_epoch": 4, **how})
        checkpoints = tmp_path / "checkpoints"
        source = str(tmp_path / "module.py")
        return fit(source, transformed, hyperparameters or {}, how, checkpoints)

    return work


def weights(model):
    return [array.tobytes() for array in model.get_weights()]


def test_the_step_is_traced_once(run, monkeypatch):
    """As long as its variables are there before: metrics and optimizer make some."""
    import keras

    traced = []
    step = keras.Model.train_step
    monkeypatch.setattr(
        keras.Model, "train_step", lambda model, data: traced.append(1) or step(model, data)
    )
    run()
    assert traced == [1]


CHILD = """
import sys
from edgeline import artifacts
from edgeline.components.train.fitting import Fitting, fit
from pathlib import Path
folder = Path(sys.argv[1])
transformed = artifacts.read(folder / "transformed", "transformed_examples/v1")
how = Fitting(label="y", steps=40_000, steps_per_epoch=4)
fit(str(folder / "module.py"), transformed, {}, how, Path(sys.argv[2]))
"""


@pytest.mark.timeout(180)
def test_a_killed_training_goes_on_as_if_nothing_had_been(folder, run, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(checkpoints)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 120
    while not list(checkpoints.glob("epoch-*[0-9]/artifact.json")):
        assert child.poll() is None, child.stderr.read().decode()
        assert time.monotonic() < end, "no checkpoint in time"
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    kept = [p for p in checkpoints.glob("epoch-*") if not p.name.endswith(".partial")]
    reached = max(int(path.name[-5:]) for path in kept)

    resumed, state = run(steps=4 * (reached + 2))
    assert state.epoch == reached + 2
    assert not list(checkpoints.glob("*.partial"))
    for path in checkpoints.iterdir():
        path.rename(tmp_path / path.name)  # out of the way of a training from the beginning
    whole, uninterrupted = run(steps=4 * (reached + 2))
    assert repr(state) == repr(uninterrupted)  # a NaN is not itself
    assert weights(resumed) == weights(whole)


def test_a_damaged_checkpoint_is_not_read(run, tmp_path, capsys):
    whole, state = run()
    last = tmp_path / "checkpoints" / "epoch-00003"
    assert artifacts.read(last, CHECKPOINT_SCHEMA).metadata["history"] == state.history
    content = bytearray((last / "variables.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (last / "variables.npz").write_bytes(content)
    again, repeated = run()
    assert "epoch-00003/variables.npz is damaged" in capsys.readouterr().out
    assert repr(repeated) == repr(state)
    assert weights(again) == weights(whole)


def test_patience_ends_early_and_keeps_the_best_weights(run, folder):
    import keras

    model, state = run(
        hyperparameters={"learning_rate": 1.0}, steps=400, steps_per_epoch=10, patience=2
    )
    assert state.epoch == state.best + 2 < 40
    losses = state.history["val_loss"]
    assert losses[state.best - 1] == min(losses) < losses[-1]
    table = pq.read_table(folder / "transformed" / "eval" / "part-00000.parquet")
    x = np.stack(table["x"].to_numpy(zero_copy_only=False))
    loss = keras.losses.binary_crossentropy(
        table["y"].to_numpy()[:, None].astype(np.float32), model.predict(x, verbose=0)
    )
    assert float(np.mean(loss)) == pytest.approx(min(losses), rel=1e-4)


def test_a_model_that_is_built_by_its_first_call_is_resumed(run):
    module = """
import keras

class Plane(keras.Model):
    def __init__(self):
        super().__init__()
        self.out = keras.layers.Dense(1, activation="sigmoid")

    def call(self, inputs):
        return self.out(inputs["x"])

def build_model(features, hyperparameters):
    model = Plane()
    model.compile("adam", "binary_crossentropy")
    return model
"""
    _, begun = run(module, steps=4)
    _, state = run(module, steps=8)
    assert state.epoch == 2
    assert state.history["loss"][:1] == begun.history["loss"]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"label": "z"}, "'label' is 'z', but preprocessing_fn gives x, y, word: name the output"),
        ({"batch_size": 401}, "'batch_size' is 401, but split 'train' has only 400 rows"),
        ({"batch_size": 0}, "'batch_size' is 0: give a whole number of at least 1"),
        ({"steps": 0}, "'steps' is 0: "),
        ({"steps_per_epoch": -1}, "'steps_per_epoch' is -1: "),
        ({"patience": -1}, "'patience' is -1: "),
        ({"seed": -1}, "'seed' is -1: "),
        ({"seed": 2**32}, "'seed' is 4294967296: "),
        ({"train_split": "x"}, r"'train_split' is 'x', .* empty \(0\), eval \(100\), train \(400"),
        ({"eval_split": "empty"}, "'eval_split' is 'empty', but the examples have no rows in it"),
    ],
)
def test_parameters(run, how, sentence):
    with pytest.raises(EdgelineError, match=sentence):
        run(**how)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (
            "def build_model(features, hyperparameters):\n    return features['z']\n",
            r"build_model failed at .*module\.py:2 \(return features\['z'\]\): KeyError: 'z'",
        ),
        (
            "import keras\ndef build_model(f, h):\n    keras.Input([1], name='a/b')\n",
            r"name=a/b .*: leave the name out, an input is known by its key",
        ),
        ("def build_model(f, h):\n    return 3\n", "build_model gave int, not a compiled Keras 3"),
        (MODULE.replace("    model.compile", "    #"), "build_model gave Functional, not a compil"),
        ("x = 1\n", r"module\.py has no function build_model"),
        ("def build_model(\n", r"Importing .*module\.py failed: SyntaxError: .*module\.py, line 1"),
        (MODULE.replace('"binary_crossentropy"', '"nonsense"'), "(?i)nonsense"),
        (MODULE.replace("Dense(1, ", "Dense(2, "), "Training failed: ValueError: .*shape"),
        (
            MODULE.replace('{"x": x}', '{"z": x}'),
            "has the input 'z', but preprocessing_fn gives x, word: name each",
        ),
    ],
)
def test_user_code(run, module, sentence):
    with pytest.raises(EdgelineError, match=sentence) as caught:
        run(module)
    assert "\n" not in str(caught.value)


def test_a_label_that_never_differs(folder, tmp_path):
    with artifacts.writing(tmp_path / "constant", examples.TRANSFORMED_SCHEMA) as draft:
        draft.metadata |= artifacts.read(
            folder / "transformed", examples.TRANSFORMED_SCHEMA
        ).metadata
        for split in ("train", "eval"):
            (draft.path / split).mkdir()
            rows = pq.read_table(folder / "transformed" / split / "part-00000.parquet")
            same = pa.array([1] * len(rows))
            pq.write_table(rows.set_column(1, "y", same), draft.path / split / "part-00000.parquet")
    constant = artifacts.read(tmp_path / "constant", examples.TRANSFORMED_SCHEMA)
    with pytest.raises(EdgelineError, match="The label 'y' is 1 in every row of split 'train'"):
        fit(str(folder / "module.py"), constant, {}, Fitting("y", 4), tmp_path / "checkpoints")


def test_a_loss_that_is_not_finite(run, tmp_path):
    with pytest.raises(EdgelineError, match="loss of epoch 1 is not finite: lower the learning"):
        run(
            MODULE.replace("binary_crossentropy", "mse").replace(', activation="sigmoid"', ""),
            {"learning_rate": 1e30},
        )
    assert not list((tmp_path / "checkpoints").glob("*"))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"task": "ranking"}, "'task' is 'ranking': choose one of binary_classification, "),
        ({"module": "no.such"}, "'no.such' cannot be found"),
        ({"module": ""}, "Module '' cannot be found: give an importable name"),
        ({"label_vocabulary": "words"}, "no vocabulary 'words', only none"),
        (
            {"transformed_examples_path": "{graph}"},
            "holds transform_graph/v1, but transformed_examples/v1",
        ),
    ],
)
def test_the_worker_refuses_before_it_trains(folder, tmp_path, parameters, sentence):
    with artifacts.writing(tmp_path / "graph", "transform_graph/v1") as draft:
        draft.metadata["dependencies"] = {}
    given = {
        "transformed_examples_path": str(folder / "transformed"),
        "transform_graph_path": str(tmp_path / "graph"),
        "module": str(folder / "module.py"),
        "task": "regression",
        "how": Fitting(label="y", steps=1),
        "model_path": str(tmp_path / "model"),
        "training_report_path": str(tmp_path / "report.html"),
    }
    given |= {k: v.replace("{graph}", given["transform_graph_path"]) for k, v in parameters.items()}
    with pytest.raises(EdgelineError, match=sentence):
        train(**given)
    assert not (tmp_path / "model").exists()


def test_a_damaged_input_is_named(folder, tmp_path):
    import shutil

    shutil.copytree(folder / "transformed", tmp_path / "transformed")
    part = tmp_path / "transformed" / "eval" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(EdgelineError, match=r"eval/part-00000\.parquet is damaged"):
        train(
            str(tmp_path / "transformed"),
            str(tmp_path),
            str(folder / "module.py"),
            "regression",
            Fitting(label="y", steps=1),
            str(tmp_path / "model"),
            str(tmp_path / "report.html"),
        )


def test_a_training_block_is_shuffled_by_its_seed_alone(folder):
    from edgeline.components.train import dataset

    transformed = artifacts.read(folder / "transformed", examples.TRANSFORMED_SCHEMA)

    def first_round(seed):
        batches = dataset.training_batches(transformed, "train", FEATURES, "y", 100, seed)
        return np.concatenate([features["x"].numpy() for features, _ in batches.take(4)])

    given = np.stack(
        pq.read_table(transformed.path / "train" / "part-00000.parquet")["x"].to_numpy()
    )
    one, same, other = (first_round(seed) for seed in ([1, 0], [1, 0], [1, 1]))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(np.sort(one, axis=0), np.sort(given, axis=0))


def test_the_loss_is_known_by_step_and_its_mean_is_the_epoch_s(run):
    """Of 14 steps in epochs of 7, of which the first call of the graph makes five."""
    _, state = run(batch_size=20, steps=14, steps_per_epoch=7)
    assert [step for step, *_ in state.by_step] == [5, 7, 12, 14]
    losses = [loss for _, loss, *_ in state.by_step]
    pairs = zip(losses[::2], losses[1::2], strict=True)
    means = [(5 * first + 2 * second) / 7 for first, second in pairs]
    assert means == pytest.approx(state.history["loss"], rel=1e-4)
    assert [rate for _, _, rate, _ in state.by_step] == pytest.approx([0.01] * 4)


def test_many_steps_become_few_points_of_the_same_mean():
    from edgeline.components.train import steps

    points = [[place + 1.0, float(place % 7), 0.1, place % 5] for place in range(2 * steps.MOST)]
    found = steps._halved(points)
    assert len(found) == steps.MOST and found[-1][0] == 2 * steps.MOST
    for column in (1, 3):
        assert sum(2 * each[column] for each in found) == sum(each[column] for each in points)
