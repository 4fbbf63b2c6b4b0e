"""An edge model as a function: any batch, exact dtypes, polite refusals."""

import numpy as np
import pytest

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.errors import EdgelineError
from edgeline.runtimes.interpreter import EdgeModel, check, dequantise, load, quantise

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two flatbuffers: `any.tflite` with a dynamic batch, `two.tflite` with a batch of two."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("interpreter")

    def module(rows):
        model = tf.Module()
        words = tf.constant(["Cash", "Credit Card"])
        model.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(words, tf.constant([1, 2], tf.int64)), 0
        )

        @tf.function(
            input_signature=[
                tf.TensorSpec([rows, 1], tf.float32, name="fare"),
                tf.TensorSpec([rows, 1], tf.int64, name="hour"),
                tf.TensorSpec([rows, 1], tf.string, name="pay"),
            ]
        )
        def serve(fare, hour, pay):
            word = tf.cast(model.table.lookup(pay), tf.float32)
            return {"prediction": fare + 100.0 * word, "hour_again": hour + 1, "pay_again": pay}

        model.serve = serve
        return model

    for name, rows in (("any", None), ("two", 2)):
        model = module(rows)
        path = str(folder / name)
        tf.saved_model.save(model, path, signatures={"serving_default": model.serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            path, signature_keys=["serving_default"]
        )
        (folder / f"{name}.tflite").write_bytes(converter.convert())
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load(folder / "any.tflite")


def rows(count):
    return {
        "fare": np.arange(count, dtype=np.float32)[:, None],
        "hour": np.arange(count, dtype=np.int64)[:, None] + 2**40,
        "pay": np.array(
            [[(b"Cash", b"Credit Card", b"\xff\x00")[i % 3]] for i in range(count)], object
        ),
    }


def test_the_signature_has_names_dtypes_and_a_free_batch(model):
    assert model.signature.inputs == (
        Tensor("fare", "float32", (-1, 1)),
        Tensor("hour", "int64", (-1, 1)),
        Tensor("pay", "string", (-1, 1)),
    )
    assert [tensor.name for tensor in model.signature.outputs] == [
        "hour_again",
        "pay_again",
        "prediction",
    ]


@pytest.mark.parametrize("file", ["any.tflite", "two.tflite"])
@pytest.mark.parametrize("count", [1, 3, 2500])
def test_any_number_of_rows(folder, file, count):
    given = rows(count)
    answer = load(folder / file)(given)
    words = np.array([100, 200, 0], np.float32)[np.arange(count) % 3]
    np.testing.assert_array_equal(answer["prediction"], given["fare"] + words[:, None])
    np.testing.assert_array_equal(answer["hour_again"], given["hour"] + 1)
    np.testing.assert_array_equal(answer["pay_again"], given["pay"])


def test_it_answers_again_after_a_refusal_and_with_another_batch(model):
    for count in (3, 1, 4):
        with pytest.raises(EdgelineError):
            model({**rows(count), "fare": np.zeros((count, 2), np.float32)})
        assert model(rows(count))["prediction"].shape == (count, 1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fare": np.zeros((2, 1))}, "Input 'fare' has dtype float64: give float32."),
        ({"fare": np.zeros(2, np.float32)}, "Input 'fare' has shape [2]: give [rows, 1]."),
        (
            {"hour": np.zeros((3, 1), np.int64)},
            "Input 'hour' has 3 rows, but 'fare' has 2: give all inputs the same rows.",
        ),
        (
            {"pay": np.array([["a"], ["b"]], object)},
            "Input 'pay' holds a str: give bytes (text as UTF-8).",
        ),
        (
            {"pay": np.array([[b"a"], [b"b"]])},
            "Input 'pay' has dtype |S1: give an object array of bytes.",
        ),
        ({"tax": np.zeros(2)}, "There is no input 'tax': the model takes fare, hour, pay."),
        ({"fare": [[1.0], [2.0]]}, "Input 'fare' is a list: give a numpy array."),
    ],
)
def test_bad_input_is_refused_by_name(model, change, sentence):
    with pytest.raises(EdgelineError) as caught:
        model({**rows(2), **change})
    assert str(caught.value) == sentence


def test_missing_and_empty_input(model):
    given = rows(2)
    given.pop("hour")
    with pytest.raises(EdgelineError, match="Input 'hour' is missing"):
        model(given)
    with pytest.raises(EdgelineError, match="has 0 rows: give 1 to 1,048,576"):
        model({name: array[:0] for name, array in rows(2).items()})


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_a_file_that_is_no_model_is_one_sentence(folder, tmp_path, content):
    whole = (folder / "any.tflite").read_bytes()
    (tmp_path / "bad.tflite").write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(EdgelineError, match=r"bad\.tflite is not a model that LiteRT can run"):
        load(tmp_path / "bad.tflite")


def test_a_file_that_is_absent(tmp_path):
    with pytest.raises(EdgelineError, match=r"none\.tflite is missing"):
        load(tmp_path / "none.tflite")


def test_an_output_with_other_rows_than_the_input_is_named():
    signature = Signature((Tensor("x", "float32", (-1, 1)),), (Tensor("y", "float32", (1, 1)),))
    model = EdgeModel(signature, lambda _: {"y": np.zeros((1, 1), np.float32)})
    with pytest.raises(EdgelineError, match=r"Output 'y' .* shape \[1, 1\] for 3 rows"):
        model({"x": np.zeros((3, 1), np.float32)})


def test_quantised_values_go_there_and_back_within_half_a_step():
    tensors = (Tensor("x", "int8", (-1, 3), 0.5, -3),)
    real = {"x": np.float32([[0.0, 1.26, 1000.0]])}
    stored = quantise(real, tensors)
    np.testing.assert_array_equal(stored["x"], np.int8([[-3, 0, 127]]))
    assert check(stored, Signature(tensors, ())) == 1
    np.testing.assert_allclose(dequantise(stored, tensors)["x"], [[0.0, 1.5, 65.0]])
    with pytest.raises(EdgelineError, match="'x' has a NaN, which int8 cannot hold"):
        quantise({"x": np.float32([[np.nan, 0, 0]])}, tensors)


def test_a_dead_layer_is_named_where_xnnpack_refuses_it(tmp_path):
    import tensorflow as tf

    numbers = np.random.default_rng(0)
    rows = numbers.random((50, 16), np.float32)
    first, second = (numbers.normal(size=size).astype(np.float32) for size in ((16, 8), (8, 2)))

    class Diverged(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 16], tf.float32, name="x")])
        def serve(self, x):
            hidden = tf.nn.relu(tf.matmul(x, first) + np.full(8, -1e3, np.float32))
            return {"y": tf.matmul(hidden, second)}

    module = Diverged()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(tmp_path), signature_keys=["serving_default"]
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({"x": row[None]} for row in rows)
    file = tmp_path / "model.tflite"
    file.write_bytes(converter.convert())
    with pytest.raises(EdgelineError, match=r"int8 layer '.+' was 0 for all rows.*learning rate"):
        load(file)({"x": rows[:7]})
