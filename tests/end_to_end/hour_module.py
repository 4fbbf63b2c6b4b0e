"""A stranger's module: the hour is read out of a text, for which LiteRT has no operator."""

from edgeline.preprocessing import fill_missing


def preprocessing_fn(inputs):
    import tensorflow as tf
    import tensorflow_transform as tft

    text = tf.strings.substr(tf.squeeze(inputs["pickup"], 1), 11, 2)
    digits = tf.cast(tf.io.decode_raw(text, tf.uint8, fixed_length=2), tf.float32) - 48.0
    hour = 10.0 * digits[:, :1] + digits[:, 1:]
    return {
        "hour": hour / 24.0,
        "scaled_miles": tft.scale_to_z_score(fill_missing(inputs["miles"], 0.0)),
        "late": tf.cast(inputs["late"] == "yes", tf.int64),
    }


def build_model(features, hyperparameters):
    import keras

    inputs = {name: keras.Input(spec.shape[1:], name=name) for name, spec in features.items()}
    hidden = keras.layers.Dense(hyperparameters.get("units", 8), "silu")(
        keras.layers.Concatenate()(list(inputs.values()))
    )
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid", name="prediction")(hidden))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return model
