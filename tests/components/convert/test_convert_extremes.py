"""Every operator at the ends of its domain: LiteRT gives what TensorFlow gives, or is named."""

from pathlib import Path

import numpy as np
import pytest

from edgeline.formats import tflite

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


def converted(functions, values):
    """What TensorFlow and LiteRT make of functions of a column, and LiteRT's operators."""
    from extreme_cases import converted

    of_x = {name: lambda features, f=f: f(features["x"]) for name, f in functions.items()}
    found, model = converted(of_x, {"x": values})
    graphs = tflite.parse(np.frombuffer(model, np.uint8), Path("model")).subgraphs
    return found, {operator.name for graph in graphs for operator in graph.operators}


@pytest.fixture(scope="module")
def of_floats():
    from extreme_cases import FLOATS, OF_FLOATS

    return converted(OF_FLOATS, FLOATS)


@pytest.fixture(scope="module")
def of_other_operators():
    from extreme_cases import FLOATS
    from operator_cases import OF_FLOATS

    return converted(OF_FLOATS, FLOATS)


@pytest.fixture(scope="module")
def of_integers():
    from extreme_cases import INTEGERS, OF_INTEGERS

    return converted(OF_INTEGERS, INTEGERS)


def test_floats(of_floats):
    from extreme_cases import FLOATS, MAY_DIFFER, MAY_DIFFER_SOMEWHERE

    wrong = differing(of_floats[0], FLOATS)
    assert wrong.keys() - MAY_DIFFER_SOMEWHERE.keys() == MAY_DIFFER.keys()
    for name, values in wrong.items():
        kind, _ = (MAY_DIFFER | MAY_DIFFER_SOMEWHERE)[name]
        for value in values:
            assert np.isnan(value) if np.isnan(kind) else abs(value) >= np.float32(kind), name


def test_other_operators(of_other_operators):
    from extreme_cases import FLOATS
    from operator_cases import EVERYWHERE, MAY_DIFFER

    wrong = differing(of_other_operators[0], FLOATS)
    assert wrong.keys() == MAY_DIFFER.keys()
    for name, values in wrong.items():
        if name not in EVERYWHERE:
            assert not any(abs(value) < 1e38 for value in values), name


def test_integers(of_integers):
    from extreme_cases import INTEGERS

    assert differing(of_integers[0], INTEGERS) == {}


def test_every_operator_of_litert_is_asked_or_is_named(of_floats, of_other_operators, of_integers):
    from ai_edge_litert.schema_py_generated import BuiltinOperator
    from operator_cases import ABSENT

    asked = {*of_floats[1], *of_other_operators[1], *of_integers[1]}
    known = {name for name, code in vars(BuiltinOperator).items() if isinstance(code, int)}
    plain = {name for name in known if not name.startswith("STABLEHLO_")}  # of no TensorFlow
    assert plain - asked == ABSENT.keys()


def test_roots_over_all_floats():
    import tensorflow as tf
    from extreme_cases import both

    values = np.exp2(np.linspace(-126, 127.9, 2000)).astype(np.float32)[:, None]
    functions = {
        "sqrt": tf.sqrt,
        "rsqrt": tf.math.rsqrt,
        "unit": lambda x: tf.math.l2_normalize(x * tf.ones([1, 2]) * 1e-20, 1),
    }
    assert differing(both(functions, values), values) == {}


def test_an_operator_that_would_fail_on_the_device_is_named():
    import tensorflow as tf
    from extreme_cases import FLOATS, both

    from edgeline.components.convert.building import UnsupportedError

    with pytest.raises(UnsupportedError, match="Lgamma"):
        both({"lgamma": tf.math.lgamma}, FLOATS)

    def chosen(x):
        return tf.switch_case(tf.size(x) % 2, [lambda: x, lambda: -x])

    with pytest.raises(UnsupportedError, match="_SwitchN"):
        both({"chosen": chosen}, FLOATS)


def test_what_no_lowering_takes_is_named():
    """Logarithms of integers as float64, and a table of text."""
    import tensorflow as tf
    from extreme_cases import INTEGERS, both, of_features

    from edgeline.components.convert.building import UnsupportedError

    with pytest.raises(UnsupportedError, match="Log"):
        both({"log": lambda x: tf.math.log(tf.cast(x, tf.float64))}, INTEGERS)
    initializer = tf.lookup.KeyValueTensorInitializer(tf.constant([1], tf.int64), ["red"])
    table = tf.lookup.StaticHashTable(initializer, "none")
    functions = {"text": lambda features: table.lookup(features["x"])}
    with pytest.raises(UnsupportedError, match="LookupTableFindV2"):
        of_features(functions, {"x": INTEGERS}, kept=table)


def test_denormal_raw_features_are_0_as_to_tensorflow():
    from extreme_cases import OF_FLOATS, both

    values = np.array([[1e-40], [-1e-40], [1.2e-38], [-0.0], [1.0]], np.float32)
    functions = {
        name: OF_FLOATS[name] for name in ("is positive", "is not 0", "sign", "floordiv", "rsqrt")
    }
    assert differing(both(functions, values, raw=True), values) == {}


def test_denormals_of_packed_columns_are_0_by_operators_that_all_of_them_share():
    import tensorflow as tf
    from extreme_cases import converted

    values = np.array([[1e-40], [-1e-40], [1.2e-38], [-0.0], [1.0]], np.float32)

    def operators(columns: int):
        given = {f"x{place}": values * (place + 1) for place in range(columns)}
        packed = lambda features: tf.concat([features[name] for name in given], axis=1)  # noqa: E731
        functions = {
            "is positive": lambda features: tf.cast(packed(features) > 0, tf.float32),
            "rsqrt": lambda features: tf.math.rsqrt(packed(features)),
            "alone": lambda features: tf.cast(features["x1"] > 0, tf.float32),
        }
        found, model = converted(functions, given, raw=True)
        for name, (cloud, edge) in found.items():
            np.testing.assert_allclose(edge, cloud, 1e-6, err_msg=name)
        [graph] = tflite.parse(np.frombuffer(model, np.uint8), Path("model")).subgraphs
        return len(graph.operators)

    assert operators(40) == operators(3)


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
