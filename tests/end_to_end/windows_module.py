"""A stranger's module of a sensor: will a pump fail, by its last rows?"""

from edgeline.preprocessing import fill_missing


def preprocessing_fn(inputs):
    import tensorflow as tf
    import tensorflow_transform as tft

    pressure = inputs["pressure"]  # [batch, 6]
    known = 1.0 - tf.cast(tf.math.is_nan(pressure), tf.float32)
    level = tft.scale_to_z_score(fill_missing(pressure, 5.0))
    return {
        "level": level,
        "known": known,
        "steps": level[:, 1:] - level[:, :-1],
        "modes": tft.compute_and_apply_vocabulary(
            fill_missing(inputs["mode"], "none"), num_oov_buckets=1, vocab_filename="modes"
        ),
        "pump": tft.compute_and_apply_vocabulary(
            fill_missing(inputs["pump"], "none"), num_oov_buckets=1, vocab_filename="pumps"
        ),
        "fails": inputs["fails"],
    }


def build_model(features, hyperparameters):  # noqa: ARG001 - it has none
    import keras

    inputs = {k: keras.Input(v.shape[1:], name=k, dtype=v.dtype.name) for k, v in features.items()}
    sizes = {"modes": 8, "pump": 8}
    parts = [
        keras.layers.Flatten()(keras.layers.Embedding(sizes[name], 2)(value))
        if name in sizes
        else value
        for name, value in inputs.items()
    ]
    hidden = keras.layers.Dense(8, "relu")(keras.layers.Concatenate()(parts))
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden))
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    return model
