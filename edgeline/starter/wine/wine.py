"""Three kinds of wine, by their chemistry and a word for their colour."""

from edgeline.preprocessing import fill_missing


def preprocessing_fn(inputs):
    """Raw columns to features, with tf.Transform. Every tensor is dense, [batch, 1]."""
    import tensorflow_transform as tft

    outputs = {}
    for name in ("alcohol", "flavanoids", "proline", "malic_acid"):
        outputs[name] = tft.scale_to_z_score(fill_missing(inputs[name], 0.0))
    outputs["colour"] = tft.compute_and_apply_vocabulary(
        fill_missing(inputs["colour"], "unknown"), num_oov_buckets=1, vocab_filename="colour"
    )
    outputs["kind"] = tft.compute_and_apply_vocabulary(inputs["kind"], vocab_filename="kind")
    return outputs


def build_model(features, hyperparameters):
    """A compiled Keras model of the features, which are the outputs above without the label."""
    import keras

    inputs = {k: keras.Input(v.shape[1:], name=k, dtype=v.dtype.name) for k, v in features.items()}
    numbers = keras.layers.Concatenate()([v for k, v in inputs.items() if k != "colour"])
    colour = keras.layers.Flatten()(keras.layers.Embedding(8, 3)(inputs["colour"]))
    hidden = keras.layers.Concatenate()([numbers, colour])
    hidden = keras.layers.Dense(hyperparameters.get("units", 16), "relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(hidden))
    model.compile(
        keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model
