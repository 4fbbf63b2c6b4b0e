"""Custom gradients: a network is converted without what only its training needs."""

import numpy as np
import pytest

from edgeline.artifacts import models
from edgeline.components.convert.convert import convert_arrays
from edgeline.runtimes import interpreter

pytestmark = pytest.mark.slow

ROWS = np.random.default_rng(3).normal(0, 2, [40, 4]).astype(np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    from custom_gradients import FUNCTIONS, WEIGHTS, save

    folder = tmp_path_factory.mktemp("gradients") / "model"
    return save(folder, lambda x: {name: f(x) for name, f in FUNCTIONS.items()}, [4], WEIGHTS)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """What EfficientNet and MobileNet are made of, with statistics of batches and dropout."""
    import keras
    from custom_gradients import save

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
@pytest.mark.parametrize(
    ("quantisation", "limit"),
    [("float", 2e-6), pytest.param("dynamic", 0.2, marks=pytest.mark.long)],
)
def test_each_is_converted_and_answers_as_in_the_cloud(network, tmp_path, quantisation, limit):
    import tensorflow as tf
    from custom_gradients import FUNCTIONS

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
    import tensorflow as tf

    from edgeline.components.convert import replay

    loaded = tf.saved_model.load(str(network / "saved_model"))
    signature = loaded.signatures[models.SERVING]
    assert "_gradient_op_type" in str(signature.graph.as_graph_def())
    graph = replay.lower(signature).function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    assert {"If", "StatelessIf"} & {node.op for node in nodes}
    assert [node.name for node in nodes if "_gradient_op_type" in node.attr] == []
    assert not {"IdentityN", "StopGradient"} & {node.op for node in graph.node}
