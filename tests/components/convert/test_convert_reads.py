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
