"""Which features an operator is applied to: those that reach it, also inside of loops and calls."""

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "one",
        "call",
        "one and call",
        "joined",
        "branch",
        "branch of a choice",
        "loop",
        "within",
        "none",
    ],
)
def test_an_operator_reads_the_features_that_reach_it(name):
    import tensorflow as tf
    from reading_functions import DTYPES, FUNCTIONS

    from edgeline.components.convert import dependencies, replay

    function, features = FUNCTIONS[name]
    specs = {name: tf.TensorSpec([None], dtype, name) for name, dtype in DTYPES.items()}
    traced = tf.function(lambda **x: {"y": function(x)}, autograph=False)
    lowered = replay.lower(traced.get_concrete_function(**specs))
    assert dependencies.reads(lowered.function, "Substr") == features


def test_of_an_operator_the_dtypes_that_are_meant_say_what_is_made_of_it():
    import tensorflow as tf

    from edgeline.components.convert import dependencies, replay

    def make(**x):
        doubles = tf.cast(x["b"], tf.float64) / 0.3
        return {"single": x["a"] / 0.3, "double": tf.cast(doubles, tf.float32)}

    specs = {name: tf.TensorSpec([None], tf.float32, name) for name in ("a", "b")}
    traced = tf.function(make, autograph=False).get_concrete_function(**specs)
    function = replay.lower(traced).function
    doubles, none = [frozenset({"float64"})], [frozenset({"int32"})]
    assert dependencies.reads(function, "RealDiv", doubles) == ["b"]
    assert dependencies.makes(function, "RealDiv", doubles) == ["double"]
    assert dependencies.makes(function, "RealDiv", none) == ["double", "single"]
