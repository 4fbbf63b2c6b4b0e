"""Recurrent layers that were trained for any number of rows convert for one."""

import pytest

pytestmark = pytest.mark.slow


def saved(network, folder):
    """The signatures of a network of series, as it is saved and loaded."""
    import tensorflow as tf

    module = tf.Module()
    module.network = network
    spec = tf.TensorSpec([None, 8, 4], tf.float32, "x")
    module.f = tf.function(lambda x: {"prediction": network(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder), {"serving_default": module.f})
    return tf.saved_model.load(str(folder))  # it owns the weights


@pytest.mark.parametrize("kind", ["lstm", "gru", "bidirectional", "two layers", "rnn"])
def test_a_recurrent_network_converts_for_one_row(kind, tmp_path):
    import keras
    import numpy as np

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
    loaded = saved(network, tmp_path)
    signatures = loaded.signatures
    row = {"x": np.random.default_rng(0).normal(size=(1, 8, 4)).astype(np.float32)}
    cloud = running.call(signatures["serving_default"], row)["prediction"]
    built = building.build(lambda _: None, signatures, Settings("float", batch=1), row)
    edge = running.answers(running.load(built.model), row)["prediction"]
    np.testing.assert_allclose(edge, cloud, atol=1e-6)


def test_a_loop_cannot_be_quantised_to_integers(tmp_path):
    import keras
    import numpy as np

    from edgeline.components.convert import building, recipes
    from edgeline.components.convert.settings import Settings
    from edgeline.errors import EdgelineError

    given = keras.Input((8, 4), name="x")
    network = keras.Model(given, keras.layers.LSTM(5, name="memory")(given))
    loaded = saved(network, tmp_path)
    row = {"x": np.zeros((1, 8, 4), np.float32)}
    wanted = r"Layer .*memory.* is a loop .*unroll=True, or set quantisation to dynamic"
    with pytest.raises(EdgelineError, match=wanted):
        building.build(lambda _: None, loaded.signatures, Settings("int8", batch=1), row)
    plain = building.build(lambda _: None, loaded.signatures, Settings("float", batch=1), row)
    with pytest.raises(EdgelineError, match="is a loop"):
        recipes.check_fit(plain.model, recipes.named("static_wi8_ai8"))
