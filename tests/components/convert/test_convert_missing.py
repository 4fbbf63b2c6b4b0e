"""A missing number is missing in a quantised network, too: its answer is NaN, as in the cloud."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROWS = {
    "given": np.random.default_rng(1).normal(0, 1, [40, 32]).astype(np.float32),
    "series": np.random.default_rng(2).normal(0, 1, [40, 8, 4]).astype(np.float32),
    "filled": np.random.default_rng(3).normal(0, 1, [40, 1]).astype(np.float32),
}
MISSING = {"given": 3, "series": 5, "filled": 7}  # in which row


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    """A network with an output that needs two inputs of three, and one that needs another."""
    import keras
    import tensorflow as tf

    from edgeline.preprocessing import fill_missing

    keras.utils.set_random_seed(1)
    layers = keras.layers
    network = {name: layers.Dense(40, activation="relu") for name in ROWS}
    last = {name: layers.Dense(2) for name in ("both", "alone")}

    @tf.function(autograph=False)
    def serve(given, series, filled):
        hidden = network["given"](given)
        steps = tf.reduce_max(network["series"](series), 1)
        whole = network["filled"](fill_missing(filled, 0.5))
        return {
            "both": last["both"](tf.concat([hidden, whole], 1)),
            "alone": tf.nn.softmax(last["alone"](steps + whole)),
        }

    specs = {n: tf.TensorSpec([None, *v.shape[1:]], tf.float32, n) for n, v in ROWS.items()}
    module = tf.Module()
    module.layers, module.serve = [network, last], serve
    folder = str(tmp_path_factory.mktemp("missing"))
    signature = serve.get_concrete_function(**specs)
    tf.saved_model.save(module, folder, {"serving_default": signature})
    loaded = tf.saved_model.load(folder)
    loaded.signatures["serving_default"].owner = loaded
    return loaded.signatures


@pytest.mark.parametrize("quantisation", ["dynamic", pytest.param("int8", marks=pytest.mark.long)])
def test_a_quantised_network_answers_nan_where_the_trained_one_does(signatures, quantisation):
    from edgeline.components.convert import building, running
    from edgeline.components.convert.convert import checked_settings

    settings = checked_settings(quantisation, "float", 0, True)
    edge = running.load(building.build(lambda _: None, signatures, settings, ROWS).model)
    asked = {name: values.copy() for name, values in ROWS.items()}
    for name, row in MISSING.items():
        asked[name][row].flat[-1] = np.nan
    cloud = running.call(signatures["serving_default"], asked)
    answers = running.answers(edge, asked)
    for name, values in cloud.items():
        np.testing.assert_array_equal(np.isnan(answers[name]), np.isnan(values), name)
        np.testing.assert_allclose(answers[name], values, atol=0.2, err_msg=name)
    assert np.isnan(cloud["both"]).any(axis=1).nonzero()[0].tolist() == [MISSING["given"]]
