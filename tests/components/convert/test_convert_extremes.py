"""Every operator at the ends of its domain: LiteRT gives what TensorFlow gives, or is named."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def differing(found, values):
    """The values of the rows that differ, by function."""
    wrong = {}
    for name, (cloud, edge) in found.items():
        assert edge.dtype == cloud.dtype, name
        close = np.isclose(cloud, edge, rtol=1e-5, atol=1e-5, equal_nan=True)
        rows = ~close.reshape(len(values), -1).all(axis=1)
        if rows.any():
            wrong[name] = values[rows, 0].tolist()
    return wrong


def test_floats():
    from extreme_cases import FLOATS, MAY_DIFFER, MAY_DIFFER_SOMEWHERE, OF_FLOATS, both

    wrong = differing(both(OF_FLOATS, FLOATS), FLOATS)
    assert wrong.keys() - MAY_DIFFER_SOMEWHERE.keys() == MAY_DIFFER.keys()
    for name, values in wrong.items():
        kind, _ = (MAY_DIFFER | MAY_DIFFER_SOMEWHERE)[name]
        for value in values:
            assert np.isnan(value) if np.isnan(kind) else abs(value) >= np.float32(kind), name


def test_integers():
    from extreme_cases import INTEGERS, OF_INTEGERS, both

    assert differing(both(OF_INTEGERS, INTEGERS), INTEGERS) == {}


def test_denormal_raw_features_are_0_as_to_tensorflow():
    from extreme_cases import OF_FLOATS, both

    values = np.array([[1e-40], [-1e-40], [1.2e-38], [-0.0], [1.0]], np.float32)
    functions = {
        name: OF_FLOATS[name] for name in ("is positive", "is not 0", "sign", "floordiv", "rsqrt")
    }
    assert differing(both(functions, values, raw=True), values) == {}


def test_sine_and_cosine_over_all_floats():
    import tensorflow as tf
    from extreme_cases import both

    random = np.random.default_rng(1)
    bits = random.integers(0, 0x7F800000, 20_000, np.uint32) | (
        random.integers(0, 2, 20_000, np.uint32) << np.uint32(31)
    )
    values = bits.view(np.float32)[:, None]
    for name, (_, edge) in both({"sin": tf.sin, "cos": tf.cos}, values).items():
        exact = getattr(np, name)(values.astype(np.float64))
        assert np.abs(edge - exact).max() < 2e-6, name


def test_a_quantised_network_has_no_guards_against_missing_values():
    """They would stay floats between integers."""
    from collections import Counter

    import tensorflow as tf

    from edgeline.components.convert import replay

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")], autograph=False)
    def network(x):
        return {"y": tf.nn.softplus(tf.nn.selu(x))}

    module = tf.Module()
    module.network = network
    signature = network.get_concrete_function()
    _, split = replay.split(None, signature)
    kinds = Counter(operator.type for operator in split.function.graph.get_operations())
    assert "SelectV2" not in kinds
    assert kinds["Selu"] == kinds["Softplus"] == 1
