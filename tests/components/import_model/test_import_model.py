"""Models that were trained elsewhere: what they become, and what is refused."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.artifacts.bundle import Signature
from edgeline.components.import_model.import_model import import_model
from edgeline.components.import_model.wanted import Wanted
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, interpreter

pytestmark = pytest.mark.slow

CORAL = Path(__file__).parents[2] / "data" / "coral"
LABELS = ("ant", "bee", "cat", "dog", "eel")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """TensorFlow is imported here already."""

    def call(function, *arguments, memory, time_limit=900):
        assert time_limit > 0 and memory > 0
        return function(len, *arguments)

    monkeypatch.setattr(child, "call", call)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network saved in every form, and the files by name."""
    import keras
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("trained")
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3), name="pic")
    hidden = keras.layers.Conv2D(4, 3, activation="relu")(image)
    logits = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(hidden))
    network = keras.Model(image, logits)
    network.save(folder / "open.keras")
    fixed = keras.Sequential([keras.Input((8, 8, 3), name="pic"), *network.layers[1:]])
    fixed.save(folder / "fixed.keras")
    fixed.save(folder / "fixed.h5")
    lambda_ = keras.layers.Lambda(lambda x: x * 2)
    keras.Sequential([keras.Input((3,)), lambda_]).save(folder / "code.keras")
    keras.Sequential([keras.Input((3,)), lambda_]).save(folder / "code.h5")

    module = tf.Module()
    module.network = network
    pictures = tf.TensorSpec([None, None, None, 3], name="pic")
    words = tf.TensorSpec([None], tf.string, name="words")

    @tf.function(input_signature=[pictures])
    def classify(pic):
        return {"scores": network(pic)}

    @tf.function(input_signature=[words])
    def measure(words):
        return {"length": tf.strings.length(words)}

    @tf.function(input_signature=[words])
    def reach(words):
        return {"content": tf.io.read_file(words[0])[tf.newaxis]}

    @tf.function(input_signature=[tf.TensorSpec([1, 4], name="x")])
    def single(x):
        return {"y": x}

    def save(name, **signatures):
        tf.saved_model.save(module, str(folder / name), signatures=signatures)

    save("several", classify=classify, measure=measure)
    save("sole", classify=classify)
    save("none")
    save("reaching", serving_default=reach)
    save("single", serving_default=single)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in LABELS))
    return folder, fixed


def imported(source, tmp_path, labels=True, **wanted):
    given = str(Path(source).parent / "labels.txt") if labels else ""
    metadata = import_model(
        str(source), str(tmp_path / "out"), str(tmp_path / "r.html"), "", given, Wanted(**wanted)
    )
    read = artifacts.read(tmp_path / "out", metadata["edgeline_schema"])
    assert {"edgeline_schema": read.schema, **read.metadata} == metadata
    return read


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["fixed.keras", "fixed.h5", "open.keras", "sole", "several"])
def test_each_form_answers_as_the_original(trained, tmp_path, name):
    folder, network = trained
    open_shape = name not in ("fixed.keras", "fixed.h5")
    settings = {"input_shape": (8, 8, 3)} if open_shape else {}
    if name == "several":
        settings["signature"] = "classify"
    model = imported(folder / name, tmp_path, **settings)
    assert model.metadata["features"] == [{"name": "pic", "dtype": "float32", "shape": [8, 8, 3]}]
    serve, _ = models.load_signature(model, models.SERVING)
    expected = network(PIXELS).numpy()
    np.testing.assert_allclose(serve({"pic": PIXELS})["prediction"], expected, atol=1e-4)
    passed, _ = models.load_signature(model, models.TRANSFORM)
    np.testing.assert_array_equal(passed({"pic": PIXELS})["pic"], PIXELS)
    evaluate, _ = models.load_signature(model, models.EVALUATE)
    assert np.isnan(evaluate({"pic": PIXELS})["label"]).all()  # no label is known


def test_scaling_probabilities_and_named_labels_are_inside(trained, tmp_path):
    folder, network = trained
    model = imported(
        folder / "fixed.keras", tmp_path, scaling="-1..1", logits=True, label="animal",
        label_type="string", rename={"pic": "image/encoded"},
    )  # fmt: skip
    evaluate, takes = models.load_signature(model, models.EVALUATE)
    assert [feature.name for feature in takes] == ["animal", "image/encoded"]
    animals = np.array([[b"bee"], [b"eel"], [b"ant"], [b"fox"], [b""], [b"dog"]], object)
    answer = evaluate({"image/encoded": PIXELS, "animal": animals})
    assert answer["label"].ravel().tolist() == [1, 4, 0, -1, -1, 3]
    logits = network(PIXELS / 127.5 - 1).numpy()
    odds = np.exp(logits - logits.max(1, keepdims=True))
    expected = odds / odds.sum(1, keepdims=True)
    np.testing.assert_allclose(answer["prediction"], expected, atol=1e-5)


@pytest.mark.long
def test_convert_and_verify_work_on_it(trained, tmp_path):
    from edgeline.components.convert.convert import convert
    from edgeline.components.verify.findings import Limits
    from edgeline.components.verify.verify import verify

    folder, _ = trained
    imported(folder / "fixed.keras", tmp_path, scaling="0..1", logits=True, label="animal")
    rows = np.random.default_rng(1).integers(0, 256, (64, 192)).astype(np.float32)
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 192)
    table = pa.table({"pic": pixels, "animal": pa.array(np.arange(64) % 5)})
    with artifacts.writing(tmp_path / "examples", "examples/v1") as draft:
        for split in ("train", "eval"):
            (draft.path / split).mkdir()
            pa.parquet.write_table(table, draft.path / split / "part-00000.parquet")
        draft.metadata["splits"] = {"train": {"rows": 64}, "eval": {"rows": 64}}
    out, data = str(tmp_path / "out"), str(tmp_path / "examples")
    for quantisation in ("float", "int8"):
        edge = str(tmp_path / quantisation)
        convert(out, data, edge, str(tmp_path / "c.html"), quantisation)
        read = artifacts.read(edge, models.EDGE_SCHEMA)
        assert read.metadata["takes"] == "raw"
        assert (read.path / "labels.txt").read_text().split() == list(LABELS)
    found = verify(
        out, str(tmp_path / "float"), data, str(tmp_path / "v"), str(tmp_path / "v.html"), Limits()
    )
    assert found.approved, found.metadata["reasons"]
    assert found.metadata["rows"] == 64


@pytest.mark.parametrize(
    ("name", "wanted", "says"),
    [
        ("several", {}, "set signature to one of classify, measure"),
        ("none", {}, "has no signature"),
        ("sole", {}, "set input_shape"),
        ("sole", {"input_shape": (8, 8, 1)}, "keep its fixed sizes"),
        ("sole", {"input_shape": (8, 0, 3)}, "positive sizes"),
        ("reaching", {}, "uses ReadFile"),
        ("single", {}, "the first size must be open"),
        ("code.keras", {}, "Lambda layer, whose Python code is not run"),
        ("code.h5", {}, "Lambda layer, whose Python code is not run"),
        ("fixed.keras", {"task": "regression"}, "gives 5 values"),
        ("fixed.keras", {"task": "guessing"}, "task is 'guessing'"),
        ("fixed.keras", {"scaling": "0-1"}, "choose one of 0..1, -1..1"),
        ("fixed.keras", {"label": "pic"}, "which the model takes as an input"),
        ("fixed.keras", {"rename": {"picture": "image"}}, "rename names 'picture'"),
        ("fixed.keras", {"rename": {"pic": ""}}, "'pic' would have no name"),
        ("fixed.keras", {"label_type": "int64"}, "label is empty"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(trained, tmp_path, name, wanted, says):
    with pytest.raises(EdgelineError, match=says.replace(".", r"\.")):
        imported(trained[0] / name, tmp_path, **wanted)
    assert not (tmp_path / "out").exists()


def test_damaged_files_are_said_in_a_sentence(trained, tmp_path):
    folder, _ = trained
    for name in ("fixed.keras", "fixed.h5"):
        file = tmp_path / name
        file.write_bytes((folder / name).read_bytes()[:700])
        with pytest.raises(EdgelineError, match="is not a whole Keras model"):
            imported(file, tmp_path, labels=False)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"\xff" * 50)
    with pytest.raises(EdgelineError, match=r"saved_model\.pb is damaged"):
        imported(broken, tmp_path, labels=False)


def test_what_is_wrong_in_a_layer_is_said_and_not_only_which(tmp_path, monkeypatch):
    """`glu` gives half of what Keras notes as the layer's shape, so the model is saved all right
    and can never be called."""
    import keras

    layers = keras.layers
    given = keras.Input((4,), name="x")
    monkeypatch.undo()  # a child's log is what is told
    keras.Model(given, layers.Dense(2)(layers.Dense(8, "glu")(given))).save(tmp_path / "glu.keras")
    with pytest.raises(EdgelineError, match="is incompatible with the layer: expected axis -1 of"):
        imported(tmp_path / "glu.keras", tmp_path, labels=False)


def test_a_class_that_is_not_of_keras_is_refused_before_it_is_imported(trained, tmp_path):
    hostile = tmp_path / "hostile.keras"
    with zipfile.ZipFile(trained[0] / "fixed.keras") as good, zipfile.ZipFile(hostile, "w") as bad:
        for entry in good.namelist():
            content = good.read(entry)
            if entry == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1]["module"] = "os"
                content = json.dumps(config).encode()
            bad.writestr(entry, content)
    with pytest.raises(EdgelineError, match=r"uses os\.\w+, which is not a class of Keras"):
        imported(hostile, tmp_path, labels=False)


def test_a_small_file_that_fills_the_memory_ends_a_child(trained, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("EDGELINE_MODEL_MEMORY", "1G")
    hostile = tmp_path / "hostile.keras"
    with zipfile.ZipFile(trained[0] / "fixed.keras") as good, zipfile.ZipFile(hostile, "w") as bad:
        for entry in good.namelist():
            content = good.read(entry)
            if entry == "config.json":
                content = re.sub(rb'"units": \d+', b'"units": 1000000000', content)
                assert b"1000000000" in content
            bad.writestr(entry, content)
    with pytest.raises(EdgelineError, match=r"^TensorFlow exceeded 1,000,000,000 bytes of memory"):
        imported(hostile, tmp_path, labels=False)


def test_labels_must_be_as_many_as_the_classes(trained, tmp_path):
    (tmp_path / "few.txt").write_text("ant\nbee\n")
    with pytest.raises(EdgelineError, match="tells 5 classes apart, but labels has 2"):
        import_model(
            str(trained[0] / "fixed.keras"), str(tmp_path / "out"), labels=str(tmp_path / "few.txt")
        )


# --- LiteRT -------------------------------------------------------------------------------------


def test_a_model_without_signature_gets_one(tmp_path):
    source = CORAL / "mobilenet_v1_0.25_128_quant.tflite"
    model = imported(source, tmp_path, labels=False, rename={"input": "image"})
    assert model.metadata["quantisation"] == "int8"
    assert model.metadata["features"] == [
        {"name": "image", "dtype": "float32", "shape": [128, 128, 3]}
    ]
    edge = interpreter.load(models.edge_model_path(model))
    signature = Signature.from_json(json.loads((model.path / "signature.json").read_text()))
    assert edge.signature == signature
    pixels = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    answer = edge({"image": pixels})["prediction"]
    from ai_edge_litert.interpreter import Interpreter

    original = Interpreter(str(source))
    original.allocate_tensors()
    for row in range(2):
        original.set_tensor(original.get_input_details()[0]["index"], pixels[row : row + 1])
        original.invoke()
        expected = original.get_tensor(original.get_output_details()[0]["index"])
        np.testing.assert_array_equal(answer[row : row + 1], expected)


def test_every_model_of_coral_comes_in_compiled_or_not(tmp_path):
    for source in sorted(CORAL.glob("*.tflite")):
        model = imported(source, tmp_path, labels=False)
        assert model.metadata["outputs"], source.name
        assert (model.path / "operators.json").is_file()


def test_a_signed_model_stays_as_it_is_byte_for_byte(tmp_path):
    first = imported(CORAL / "keras_lstm_mnist_ptq.tflite", tmp_path, labels=False)
    kept = models.edge_model_path(first).read_bytes()
    (tmp_path / "signed.tflite").write_bytes(kept)
    again = imported(tmp_path / "signed.tflite", tmp_path, labels=False)
    assert models.edge_model_path(again).read_bytes() == kept


def test_class_names_inside_the_file_are_found(tmp_path):
    file = tmp_path / "named.tflite"
    file.write_bytes((CORAL / "keras_lstm_mnist_ptq.tflite").read_bytes())
    with zipfile.ZipFile(file, "a") as packed:
        packed.writestr("labels.txt", "".join(f"digit {n}\n" for n in range(10)))
    model = imported(file, tmp_path, labels=False)
    assert model.metadata["labels"][3] == "digit 3"


def test_what_a_litert_file_cannot_fulfil_is_refused(tmp_path):
    source = CORAL / "keras_lstm_mnist_ptq.tflite"
    with pytest.raises(EdgelineError, match="scaling is set, but a LiteRT file is taken as it is"):
        imported(source, tmp_path, labels=False, scaling="0..1")
    with pytest.raises(EdgelineError, match="has no signature 'main'"):
        imported(source, tmp_path, labels=False, signature="main")
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(source.read_bytes()[:5000])
    with pytest.raises(EdgelineError, match="damaged"):
        imported(damaged, tmp_path, labels=False)


# --- ONNX ---------------------------------------------------------------------------------------


@pytest.fixture
def onnx_file(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    nodes = [("MatMul", ["data:0", "w"], ["h"]), ("Relu", ["h"], ["y"])]
    graph = helper.make_graph(
        [helper.make_node(*node) for node in nodes],
        "small",
        [helper.make_tensor_value_info("data:0", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path = tmp_path / "small.onnx"
    onnx.save(model, str(path))
    return path, weights


def test_an_onnx_file_is_checked_renamed_and_described(onnx_file, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    path, weights = onnx_file
    model = imported(path, tmp_path, labels=False)
    assert model.metadata["operators"] == {"MatMul": 1, "Relu": 1}
    assert model.metadata["features"] == [{"name": "data", "dtype": "float32", "shape": [4]}]
    session = runtime.InferenceSession(str(model.path / "model.onnx"))
    rows = np.ones((2, 4), np.float32)
    (answer,) = session.run(["prediction"], {"data": rows})
    np.testing.assert_allclose(answer, np.maximum(rows @ weights, 0), rtol=1e-5)


def test_bad_onnx_files_are_refused(onnx_file, tmp_path):
    import onnx

    path, _ = onnx_file
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(path.read_bytes()[:60])
    with pytest.raises(EdgelineError, match="ONNX"):
        imported(cut, tmp_path, labels=False)
    model = onnx.load(str(path))
    model.graph.node[1].op_type = "Telepathy"
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(model.SerializeToString())
    with pytest.raises(EdgelineError, match="is not valid ONNX"):
        imported(wrong, tmp_path, labels=False)
    outside = tmp_path / "outside.onnx"
    onnx.save(
        onnx.load(str(path)), str(outside), save_as_external_data=True, location="w.bin",
        size_threshold=0,
    )  # fmt: skip
    with pytest.raises(EdgelineError, match="keeps its weights in other files"):
        imported(outside, tmp_path, labels=False)


def test_pickles_are_refused_by_name(tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(EdgelineError, match="may hold pickled Python"):
        imported(tmp_path / "model.pkl", tmp_path, labels=False)
