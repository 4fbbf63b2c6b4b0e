"""Payments as features. The pipeline takes care of the rare class: its weight, split and cost."""

from edgeline.preprocessing import fill_missing

SHOPS = 8  # kinds; all others count as one more


def preprocessing_fn(inputs):
    """Amounts and times by their logarithm, since ten times as much is one step, not a thousand."""
    import tensorflow as tf
    import tensorflow_transform as tft

    def number(name, usual):
        return tf.cast(fill_missing(inputs[name], usual), tf.float32)

    return {
        "amount": tft.scale_to_z_score(tf.math.log(1.0 + tf.maximum(number("amount", 50), 0.0))),
        "pause": tft.scale_to_z_score(
            tf.math.log(1.0 + tf.maximum(number("minutes_since_last", 400), 0.0))
        ),
        "night": tf.cast(number("hour", 14) < 5, tf.float32),
        "abroad": tf.cast(inputs["abroad"] == "yes", tf.float32),
        "shop": tft.compute_and_apply_vocabulary(
            fill_missing(inputs["shop"], "none"), top_k=SHOPS, num_oov_buckets=1,
            vocab_filename="shop",
        ),
        "fraud": tf.cast(inputs["fraud"] == "yes", tf.int64),
    }  # fmt: skip


def build_model(features, hyperparameters):
    """A small network that gives the probability of fraud, were both classes as frequent."""
    import keras

    inputs = {k: keras.Input(v.shape[1:], name=k, dtype=v.dtype.name) for k, v in features.items()}
    shop = keras.layers.Flatten()(keras.layers.Embedding(SHOPS + 1, 3)(inputs["shop"]))
    columns = [value for name, value in inputs.items() if name != "shop"]
    hidden = keras.layers.Concatenate()([*columns, shop])
    hidden = keras.layers.Dense(hyperparameters.get("units", 24), "relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid", name="prediction")(hidden))
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    return model
