"""Recurrent layers that were trained for any number of rows convert for one."""

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["lstm", "gru", "bidirectional", "two layers", "rnn"])
def test_a_recurrent_network_converts_for_one_row(kind, tmp_path):
    import keras
    import numpy as np
    import tensorflow as tf

    from edgeline.components.convert import building, running
    from edgeline.components.convert.settings import Settings

    layers = keras.layers
    given = keras.Input((8, 4), name="x")
    hidden = {
        "lstm": lambda: layers.LSTM(5)(given),
        "gru": lambda: layers.GRU(5)(given),
        "bidirectional": lambda: layers.Bidirectional(layers.LSTM(5))(given),
        "two layers": lambda: layers.LSTM(3)(layers.GRU(5, return_sequences=True)(given)),
        "rnn": lambda: layers.SimpleRNN(5)(given),
    }[kind]()
    network = keras.Model(given, layers.Dense(2)(hidden))
    module = tf.Module()
    module.network = network
    spec = tf.TensorSpec([None, 8, 4], tf.float32, "x")
    module.f = tf.function(lambda x: {"prediction": network(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.f})
    loaded = tf.saved_model.load(str(tmp_path))  # it owns the weights
    signatures = loaded.signatures
    row = {"x": np.random.default_rng(0).normal(size=(1, 8, 4)).astype(np.float32)}
    cloud = running.call(signatures["serving_default"], row)["prediction"]
    built = building.build(lambda _: None, signatures, Settings("float", batch=1), row)
    edge = running.answers(running.load(built.model), row)["prediction"]
    np.testing.assert_allclose(edge, cloud, atol=1e-6)
