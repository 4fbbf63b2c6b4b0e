"""Before a training: which transforms no edge model can have."""

import pytest

from edgeline.artifacts.features import Feature
from edgeline.components.convert import known_operators
from edgeline.components.train import raw_features
from edgeline.errors import EdgelineError
from edgeline.preprocessing import hour_of_day, parse_datetime
from edgeline.runtimes import child

pytestmark = pytest.mark.slow

COLUMNS = [Feature("x", "float32"), Feature("z", "float32"), Feature("label", "int64")]
MODULE = """
def build_model(features, hyperparameters):
    import keras

    inputs = {n: keras.Input([1], name=n) for n in features if n in hyperparameters["takes"]}
    model = keras.Model(inputs, keras.layers.Dense(1)(sum(inputs.values())))
    model.compile("sgd", "mse")
    return model
"""


@pytest.fixture
def require(tmp_path, monkeypatch):
    """`require(transform)`: of a text and a number, as tf.Transform saves it."""
    import tensorflow as tf

    monkeypatch.setattr(child, "call", lambda function, *given, **_: function(len, *given))

    def work(transform, takes=("x", "z")):
        module = tf.Module()
        specs = {
            "the text": tf.TensorSpec([None, 1], tf.string, "text"),
            "number": tf.TensorSpec([None, 1], tf.float32, "number"),
        }
        made = tf.function(transform, autograph=False)
        module.transform_fn = made.get_concrete_function(specs)
        tf.saved_model.save(module, str(tmp_path / "transform_fn"))
        (tmp_path / "module.py").write_text(MODULE)
        known = known_operators.only_known(tmp_path / "transform_fn", "label")
        module = str(tmp_path / "module.py")
        raw_features.require(tmp_path, module, COLUMNS, {"takes": takes}, "label")
        return known

    return work


def first_byte(inputs):
    import tensorflow as tf

    text = tf.squeeze(inputs["the text"], 1)
    return tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=1), tf.float32)


def given(x, inputs, label=None):
    import tensorflow as tf

    label = inputs["number"] > 1.0 if label is None else label
    return {"x": x, "z": inputs["number"] + 1.0, "label": tf.cast(label, tf.int64)}


def test_features_and_operators_are_named(require):
    sentence = (
        r"^The transform makes feature 'x' out of 'the text' with DecodePaddedRaw \(node .*\), for "
        r"which .*: make it of other operators in preprocessing_fn, or set require_raw \(edge.*"
    )
    with pytest.raises(EdgelineError, match=sentence):
        require(lambda inputs: given(first_byte(inputs), inputs))


def test_text_that_host_operations_read_is_no_reason(require):
    import tensorflow as tf

    def transform(inputs):
        hour = tf.cast(hour_of_day(parse_datetime(inputs["the text"])), tf.float32)
        length = tf.cast(tf.strings.length(inputs["the text"]), tf.float32)
        return given(hour + length, inputs)

    assert not require(transform)


def test_a_pattern_whose_meaning_is_not_proven_is_a_reason(require):
    import tensorflow as tf

    def transform(inputs):
        plain = tf.strings.regex_full_match(inputs["the text"], "(?i)yes")
        return given(tf.cast(plain, tf.float32), inputs)

    with pytest.raises(EdgelineError, match=r"'x' out of 'the text' with StaticRegexFullMatch"):
        require(transform)


def test_what_the_network_does_not_take_may_be_made_of_anything(require):
    assert not require(lambda inputs: given(first_byte(inputs), inputs), takes=["z"])


def test_so_may_the_label(require):
    def transform(inputs):
        return given(inputs["number"] * 2.0, inputs, label=first_byte(inputs))

    assert require(transform)


def test_an_operator_that_is_not_known_is_tried(require):
    import tensorflow as tf

    assert not require(lambda inputs: given(tf.sin(inputs["number"]), inputs))


def test_strings_that_are_chosen_are_known_where_they_are_compared(require):
    import tensorflow as tf

    def choice(inputs):
        filled = tf.where(tf.equal(inputs["the text"], ""), "none", inputs["the text"])
        return given(tf.cast(tf.equal(filled, "red"), tf.float32), inputs)

    assert require(choice)


def test_features_that_are_packed_and_taken_apart_are_known(require):
    import tensorflow as tf

    def transform(inputs):
        packed = tf.concat([inputs["number"], inputs["number"] * 2.0], axis=1)
        apart = tf.unstack(tf.reshape(packed, [-1, tf.reduce_prod(tf.constant([1, 2]))]), axis=1)
        return given(tf.stack(apart, axis=1)[:, 1:], inputs)

    assert require(transform)


def test_the_operators_of_the_taxi_trips_are_all_known(transformed_taxi):
    assert known_operators.only_known(transformed_taxi.graph.path / "transform_fn", "big_tip")
    assert known_operators.only_known(transformed_taxi.graph.path / "transform_fn", "fare")
