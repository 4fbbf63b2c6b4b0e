"""What the worker makes of models that do not convert, and of parameters that do not fit."""

import faulthandler
import functools
import os
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import batches, models
from edgeline.artifacts.transformed import sentence
from edgeline.components.convert.convert import convert
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, interpreter, limits

pytestmark = pytest.mark.slow

ROWS = 60
COLOURS = [b"red", b"green", b"blue"]


@pytest.fixture
def data(tmp_path):
    """Examples of a word, a whole number and a number, with missing values."""
    table = pa.table(
        {
            "word": pa.array([*COLOURS, None, b"other", b"12.5"] * (ROWS // 6), pa.string()),
            "count": pa.array([*range(ROWS - 1), None], pa.int64()),
            "size": pa.array([None, *np.linspace(-3, 3, ROWS - 1)], pa.float32()),
        }
    )
    with artifacts.writing(tmp_path / "examples", "examples/v1") as draft:
        (draft.path / "train").mkdir()
        pq.write_table(table, draft.path / "train" / "part-00000.parquet")
        draft.metadata["splits"] = {"train": {"rows": ROWS}}
    return tmp_path / "examples"


def save(folder, transform, network=None, kept=None, **facts):
    """A `model/v1` of a transform and a network on its features."""
    import tensorflow as tf

    module = tf.Module()
    module.kept = kept
    module.weights = tf.Variable(np.linspace(-1, 1, 24).reshape(3, 8), dtype=tf.float32)
    network = network or (
        lambda x: tf.sigmoid(tf.reduce_sum(tf.nn.relu(x @ module.weights), 1, keepdims=True))
    )
    raw = {
        name: tf.TensorSpec([None, 1], dtype, name)
        for name, dtype in {"word": tf.string, "count": tf.int64, "size": tf.float32}.items()
    }

    @tf.function(autograph=False)
    def transformed(**inputs):
        return transform(inputs)

    @tf.function(autograph=False)
    def predict(**features):
        columns = [tf.cast(features[name], tf.float32) for name in ("count", "size", "word")]
        return {"prediction": network(tf.concat(columns, 1))}

    @tf.function(autograph=False)
    def serve(**inputs):
        return predict(**transform(inputs))

    module.functions = [transformed, predict, serve]
    transform_signature = transformed.get_concrete_function(**raw)
    features = {
        name: tf.TensorSpec([None, 1], spec.dtype, name)
        for name, spec in transform_signature.structured_outputs.items()
    }
    with artifacts.writing(folder, models.SCHEMA) as draft:
        tf.saved_model.save(
            module,
            str(draft.path / "saved_model"),
            {
                "serving_default": serve.get_concrete_function(**raw),
                "transform": transform_signature,
                "predict_transformed": predict.get_concrete_function(**features),
            },
        )
        draft.metadata.update(
            features=[
                {"name": name, "dtype": spec.dtype.name, "shape": [1]} for name, spec in raw.items()
            ],
            task="binary_classification",
            **facts,
        )
    return folder


def fill(inputs):
    import tensorflow as tf

    size = inputs["size"]
    return {**inputs, "size": tf.where(tf.math.is_nan(size), 0.0, size)}


def vocabulary(oov):
    import tensorflow as tf

    initializer = tf.lookup.KeyValueTensorInitializer(COLOURS, tf.range(3, dtype=tf.int64))
    return tf.lookup.StaticVocabularyTable(initializer, oov)


def with_words(folder, oov, **more):
    """A model whose transform fills sizes and looks words up, with so many buckets for others."""
    table = vocabulary(oov)
    return save(folder, lambda x: {**fill(x), "word": table.lookup(x["word"])}, kept=table, **more)


def with_bytes(folder, **more):
    """A model whose transform takes three bits of a word's first byte, which no device can."""
    return save(folder, lambda x: {**fill(x), "word": first_byte(x["word"])}, **more)


def first_byte(word):
    import tensorflow as tf

    text = tf.squeeze(word, 1)
    return tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=1), tf.int64) % 8


def run(model, data, **parameters):
    folder = data.parent
    return convert(
        str(model), str(data), str(folder / "edge"), str(folder / "r.html"), **parameters
    )


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("quantisation", ["float", "int8", "int16x8"])
def test_an_operator_that_no_device_has_leaves_one_feature_outside(data, tmp_path, quantisation):
    import tensorflow as tf

    model = with_bytes(tmp_path / "model")
    done = run(model, data, quantisation=quantisation).metadata
    assert done["takes"] == "mixed"
    assert done["features"] == [
        {"name": "count", "dtype": "int64", "shape": [1]},
        {"name": "size", "dtype": "float32", "shape": [1]},
        {"name": "word", "dtype": "int64", "shape": [1], "transformed": "word"},
    ]
    assert "DecodePaddedRaw (node " in done["because"]
    assert "takes 'word' transformed" in done["because"]
    assert "DecodePaddedRaw" in (tmp_path / "r.html").read_text()
    assert sentence(done["takes"], done) == (
        "The model takes feature 'word' transformed and all others raw, because LiteRT lacks "
        "DecodePaddedRaw, which the transform applies to feature 'word': whoever asks for a "
        "prediction has to transform these first."
    )
    edge = interpreter.load(tmp_path / "edge" / "model.tflite")
    raw = {"count": np.array([[3]], np.int64), "size": np.array([[np.nan]], np.float32)}
    answer = edge({**raw, "word": np.array([[1]], np.int64)})  # the missing size is filled inside
    serve = tf.saved_model.load(str(model / "saved_model")).signatures["serving_default"]
    cloud = serve(word=tf.constant([[b"a"]]), **{k: tf.constant(v) for k, v in raw.items()})
    limit = {"float": 1e-6, "int16x8": 1e-3}.get(quantisation, 0.02)
    np.testing.assert_allclose(answer["prediction"], cloud["prediction"], atol=limit)


@pytest.mark.usefixtures("in_this_process")
def test_an_operator_that_is_lacked_for_a_dtype_leaves_no_feature_of_another_outside(
    data, tmp_path
):
    import tensorflow as tf

    def transform(inputs):
        doubles = tf.cast(fill(inputs)["size"], tf.float64) / 0.3
        is_red = tf.cast(tf.equal(inputs["word"], "red"), tf.float32)
        count = tf.cast(inputs["count"], tf.float32) / 7.0
        return {"size": tf.cast(doubles, tf.float32), "count": count, "word": is_red}

    done = run(save(tmp_path / "model", transform), data, quantisation="float").metadata
    assert done["takes"] == "mixed"
    sent = [each["name"] for each in done["features"] if "transformed" in each]
    assert sent == ["size"]
    assert "RealDiv" in done["because"]


@pytest.mark.usefixtures("in_this_process")
def test_several_buckets_are_a_host_operation(data, tmp_path):
    model = with_words(tmp_path / "model", 3, require_raw=True)
    done = run(model, data, quantisation="float").metadata
    assert (done["takes"], done["because"]) == ("raw", None)
    assert [each["name"] for each in done["features"]] == ["count", "size", "word"]
    steps = done["host_operations"]["steps"]
    assert [(each["operator"], each["takes"]) for each in steps] == [
        ("StringToHashBucketFast", ["word"])
    ]
    assert done["difference"]["prediction"]["max"] < 1e-6
    assert "Host operations" in (tmp_path / "r.html").read_text()


@pytest.mark.usefixtures("in_this_process")
def test_a_transformed_feature_beside_the_raw_one_of_its_name(data, tmp_path):
    import tensorflow as tf

    def transform(inputs):
        length = tf.cast(first_byte(inputs["word"]), tf.float32) / 100.0
        is_red = tf.cast(tf.equal(inputs["word"], "red"), tf.float32)
        return {"word": length, "count": is_red, "size": length * fill(inputs)["size"]}

    done = run(save(tmp_path / "model", transform), data, quantisation="float").metadata
    assert [(f["name"], f.get("transformed", "")) for f in done["features"]] == [
        ("size", "size"),
        ("transformed_word", "word"),
        ("word", ""),
    ]
    assert done["difference"]["prediction"]["max"] < 1e-6


@pytest.mark.usefixtures("in_this_process")
def test_a_model_that_must_take_raw_features_is_refused_else(data, tmp_path):
    model = with_bytes(tmp_path / "model", require_raw=True)
    with pytest.raises(EdgelineError, match=r"feature 'word' out of 'word' with DecodePadded.*raw"):
        run(model, data)
    assert not (tmp_path / "edge").exists()


@pytest.mark.usefixtures("in_this_process")
def test_few_representative_rows_lie_in_few_of_many_batches(data, tmp_path, monkeypatch):
    few = functools.partial(batches.stream, most_rows=2)
    monkeypatch.setattr(batches, "stream", lambda file, columns, *_: few(file, columns))
    model = with_words(tmp_path / "model", 1)
    done = run(model, data, quantisation="float", representative_rows=3).metadata
    assert done["representative"] == {"split": "train", "rows": 3}


@pytest.mark.usefixtures("in_this_process")
def test_one_bucket_takes_raw_features_and_writes_labels_and_the_threshold(data, tmp_path):
    model = with_words(tmp_path / "model", 1, labels=["small", "größer"])
    done = run(model, data, quantisation="float", decision_threshold=0.3).metadata
    assert done["takes"] == "raw" and done["because"] is None
    assert done["difference"]["prediction"]["max"] < 1e-6
    assert (tmp_path / "edge" / "labels.txt").read_text("utf-8") == "small\ngrößer\n"
    kept = artifacts.read(tmp_path / "edge", models.EDGE_SCHEMA).metadata
    assert done["decision_threshold"] == kept["decision_threshold"] == 0.3


@pytest.mark.usefixtures("in_this_process")
def test_an_operator_of_the_transform_is_named(data, tmp_path):
    import tensorflow as tf

    def transform(inputs):
        cleaned = tf.strings.regex_replace(inputs["word"], "(?i)[^0-9]", "")
        number = tf.where(cleaned == "", 0.0, tf.strings.to_number(cleaned + "0"))
        return {**fill(inputs), "word": number}

    done = run(save(tmp_path / "model", transform), data).metadata
    assert done["takes"] == "mixed"
    assert "StringToNumber (node " in done["because"] and "RegexReplace" in done["because"]


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("part", ["transform", "network"])
def test_the_first_tensor_that_differs_is_named(data, tmp_path, monkeypatch, part):
    import tensorflow as tf

    from edgeline.components.convert import replay

    def transform(inputs):
        size = fill(inputs)["size"]
        scaled = tf.atan(size, name="bent") if part == "transform" else size
        return {"word": tf.exp(scaled), "count": inputs["count"] * 0, "size": size}

    def network(x):
        with tf.name_scope("dense_7"):
            x = tf.atan(x) if part == "network" else x
        return tf.sigmoid(tf.reduce_sum(x, 1, keepdims=True))

    monkeypatch.setitem(replay.ALL, "Atan", lambda _, x: x - x * x * x / 3.0)
    wrong = (
        "made by Atan of feature 'word', in the transform: "
        if part == "transform"
        else ("made by Atan of layer 'dense_7', in the network: ")
    )
    with pytest.raises(EdgelineError, match=f"the first tensor that differs is '.*', {wrong}"):
        run(save(tmp_path / "model", transform, network), data, quantisation="float")


@pytest.mark.usefixtures("in_this_process")
def test_an_operator_of_the_network_is_named(data, tmp_path):
    import tensorflow as tf

    def network(x):
        return tf.math.erfinv(tf.tanh(tf.reduce_sum(x, 1, keepdims=True)) / 2)

    model = with_words(tmp_path / "model", 1, network=network)
    with pytest.raises(EdgelineError, match=r"network of .* uses Erfinv \(node .*build the model"):
        run(model, data)
    assert not (tmp_path / "edge").exists()


@pytest.mark.usefixtures("in_this_process")
def test_a_loop_over_columns_is_named_with_a_way_out(data, tmp_path):
    import tensorflow as tf

    def network(x):
        return tf.reduce_sum(tf.transpose(tf.map_fn(tf.tanh, tf.transpose(x))), 1, keepdims=True)

    model = save(tmp_path / "model", lambda x: {**fill(x), "word": x["count"]}, network)
    with pytest.raises(EdgelineError, match=r"uses TensorList.* \(node .*unroll=True"):
        run(model, data)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"quantisation": "int4"}, "quantisation is 'int4', but must be one of float, fp16"),
        ({"quantisation": "int8", "representative_rows": 5}, "give 5 rows, but int8 needs at leas"),
        ({"representative_rows": 0}, "representative_rows=0 give no row"),
        ({"representative_split": "test"}, "has no split 'test'"),
    ],
)
def test_parameters_that_do_not_fit_are_named(data, tmp_path, parameters, sentence):
    model = save(tmp_path / "model", lambda x: {**fill(x), "word": x["count"]})
    with pytest.raises(EdgelineError, match=sentence):
        run(model, data, **parameters)


def crash(tell, how):
    tell("converting While to int8")
    if how == "segfault":
        faulthandler.disable()  # pytest's: nobody reads the stack of a crash that is wanted
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "raise":
        raise ValueError("no such thing")
    if how == "wait":
        limits.begin(1000, 0.0003)  # the limits by themselves, however busy the machine is
        time.sleep(60)
    if how == "compute":
        limits.begin(0.3, 1000)
    while how == "compute":
        pass
    return how


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("segfault", "was killed by SIGSEGV while converting While to int8: set quantisation to"),
        ("raise", r"failed while converting While to int8 \(ValueError: no such thing\): set"),
        ("compute", "exceeded 20 s of a core while converting While to int8: give a larger time"),
        ("wait", "exceeded 60 s while converting While to int8: give a larger time_limit"),
    ],
)
def test_a_crash_of_the_converter_is_a_sentence(data, tmp_path, monkeypatch, how, sentence):
    model = save(tmp_path / "model", lambda x: {**fill(x), "word": x["count"]})
    call = child.call
    monkeypatch.setattr(child, "call", lambda *_, **limit: call(crash, how, **limit))
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)  # a fork is enough for this
    with pytest.raises(EdgelineError, match=f"^The converter {sentence}"):
        run(model, data, quantisation="int8", time_limit=20)


def test_a_model_that_fills_the_memory_ends_a_child(data, tmp_path, monkeypatch):
    import tensorflow as tf

    def network(x):
        return x[:, :1] + tf.reduce_sum(tf.fill([40_000, 10_000], x[0, 0]))  # 1.6 GB

    model = save(tmp_path / "model", lambda x: {**fill(x), "word": x["count"]}, network)
    monkeypatch.setenv("EDGELINE_MODEL_MEMORY", "1G")
    with pytest.raises(EdgelineError, match=r"exceeded 1,000,[0-9,]+ bytes of memory .*: set that"):
        run(model, data)


def test_what_a_child_returns_comes_back(monkeypatch):
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)
    assert child.call(crash, "well", memory=1 << 30, time_limit=60) == "well"


@pytest.mark.usefixtures("in_this_process")
def test_the_face_fills_the_artifacts(data, tmp_path):
    from kfp import dsl

    from edgeline.components.convert.component import convert as face

    model = save(tmp_path / "model", lambda x: {**fill(x), "word": x["count"]})
    edge_model = dsl.Model(uri=str(tmp_path / "edge"))
    report, metrics = dsl.HTML(uri=str(tmp_path / "report.html")), dsl.Metrics()
    face.python_func(
        model=dsl.Model(uri=str(model)),
        examples=dsl.Dataset(uri=str(data)),
        edge_model=edge_model,
        conversion_report=report,
        conversion_metrics=metrics,
    )
    assert edge_model.metadata["quantisation"] == "dynamic"
    size = (tmp_path / "edge" / "model.tflite").stat().st_size
    assert metrics.metadata["size_bytes"] == edge_model.metadata["size"] == size
    assert "Operators" in (tmp_path / "report.html").read_text()
