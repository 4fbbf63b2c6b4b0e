"""Custom gradients: a network is converted without what only its training needs."""

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.components.convert.convert import convert_arrays
from edgeline.runtimes import interpreter

tf = pytest.importorskip("tensorflow")

ROWS = np.random.default_rng(3).normal(0, 2, [40, 4]).astype(np.float32)
WEIGHTS = tf.Variable(np.random.default_rng(4).normal(0, 1, [4, 4]).astype(np.float32))
SCALES = tf.constant(np.linspace(0.5, 2, 4, dtype=np.float32))


@tf.custom_gradient
def clipped(x):
    y = tf.maximum(x, 0.0)
    return y, lambda g: tf.clip_by_value(g, -1.0, 1.0) * tf.cast(y > 0, tf.float32)


@tf.custom_gradient
def nested(x):
    y = clipped(x) * SCALES + tf.nn.silu(x)
    return y, lambda g: g * y * SCALES


@tf.custom_gradient
def weighted(x, variables=None):  # noqa: ARG001 - TensorFlow looks for this name
    y = x @ WEIGHTS

    def gradient(g, variables=None):  # noqa: ARG001
        return g @ tf.transpose(WEIGHTS), [tf.transpose(x) @ g]

    return y, gradient


@tf.custom_gradient
def pair(x, number):
    return (x * number, x - number), lambda a, b: (a * number + b, None)


def loop(x):
    def step(count, value):
        inner = tf.cond(tf.shape(value)[1] > 3, lambda: clipped(value), lambda: value)
        return count + 1, tf.nn.silu(inner + 1)

    return tf.while_loop(lambda count, _: count < 3, step, [0, x])[1]


def branch(x):
    positive = tf.shape(x)[0] > 0
    return tf.cond(positive, lambda: tf.nn.silu(x), lambda: clipped(x))


called = tf.function(
    lambda x: tf.nn.silu(x) * clipped(x),
    autograph=False,
    experimental_attributes={"_noinline": True},
)
compiled = tf.function(lambda x: nested(x) + 1, autograph=False, jit_compile=True)
FUNCTIONS = {
    "silu": lambda x: tf.nn.silu(x, beta=1.5),
    "own": clipped,
    "nested": nested,
    "weighted": weighted,
    "pair": lambda x: tf.multiply(*pair(x, 3.0)),
    "recomputed": tf.recompute_grad(lambda x: tf.nn.silu(x @ WEIGHTS)),
    "passed": lambda x: tf.grad_pass_through(tf.floor)(x) + tf.stop_gradient(x),
    "loop": loop,
    "branch": branch,
    "called": called,
    "compiled": compiled,
    "gelu": tf.nn.gelu,
    "relu6": tf.nn.relu6,
}


def save(folder, function, shape, owner):
    """A `model/v1` with `serving_default` alone."""
    serve = tf.function(function, autograph=False)
    module = tf.Module()
    module.function, module.owner = serve, owner
    with artifacts.writing(folder, models.SCHEMA) as draft:
        signature = serve.get_concrete_function(tf.TensorSpec([None, *shape], name="x"))
        tf.saved_model.save(module, str(draft.path / "saved_model"), {models.SERVING: signature})
        draft.metadata["features"] = [{"name": "x", "dtype": "float32", "shape": [*shape]}]
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradients") / "model"
    return save(folder, lambda x: {name: f(x) for name, f in FUNCTIONS.items()}, [4], WEIGHTS)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """What EfficientNet and MobileNet are made of, with statistics of batches and dropout."""
    import keras

    keras.utils.set_random_seed(2)
    layers = keras.layers
    pixels = keras.Input([8, 8, 3])
    found = layers.Conv2D(8, 3, strides=2, use_bias=False)(pixels)
    found = layers.Activation("silu")(layers.BatchNormalization()(found))
    gate = layers.Conv2D(8, 1, activation="sigmoid")(
        layers.GlobalAveragePooling2D(keepdims=True)(found)
    )
    found = layers.Multiply()([found, layers.Activation("hard_silu")(gate)])
    found = layers.Dropout(0.5)(layers.ReLU(6.0)(found))
    found = layers.Dense(4, activation="gelu")(layers.Flatten()(found))
    network = keras.Model(pixels, found)
    folder = tmp_path_factory.mktemp("blocks") / "model"
    return save(folder, lambda x: {"y": network(x, training=False)}, [8, 8, 3], network)


def run(model, rows, folder, quantisation):
    done = convert_arrays(
        str(model), {"x": rows}, str(folder / "edge"), str(folder / "r.html"), quantisation
    )
    edge = interpreter.load(folder / "edge" / "model.tflite")
    return done.metadata["difference"], edge({"x": rows}), (folder / "edge" / "operators.json")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("quantisation", "limit"), [("float", 2e-6), ("dynamic", 0.2)])
def test_each_is_converted_and_answers_as_in_the_cloud(network, tmp_path, quantisation, limit):
    difference, answers, _ = run(network, ROWS, tmp_path, quantisation)
    assert difference.keys() == FUNCTIONS.keys()
    assert {name: d for name, d in difference.items() if d["of_range"] > limit} == {}
    np.testing.assert_allclose(answers["silu"], tf.nn.silu(ROWS, beta=1.5), atol=1e-5)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("quantisation", ["float", "int8", "static_wi8_ai8"])
def test_a_network_of_layers_keeps_nothing_of_its_training(blocks, tmp_path, quantisation):
    rows = np.random.default_rng(5).uniform(-1, 1, [40, 8, 8, 3]).astype(np.float32)
    difference, _, operators = run(blocks, rows, tmp_path, quantisation)
    assert difference["y"]["max"] < (1e-5 if quantisation == "float" else 0.05)
    kept = operators.read_text()
    assert "RSQRT" not in kept and "RANDOM" not in kept


def test_the_graph_has_no_custom_gradient_left_in_any_body(network):
    from edgeline.components.convert import replay

    loaded = tf.saved_model.load(str(network / "saved_model"))
    signature = loaded.signatures[models.SERVING]
    assert "_gradient_op_type" in str(signature.graph.as_graph_def())
    graph = replay.lower(signature).function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    assert {"If", "StatelessIf"} & {node.op for node in nodes}
    assert [node.name for node in nodes if "_gradient_op_type" in node.attr] == []
    assert not {"IdentityN", "StopGradient"} & {node.op for node in graph.node}
