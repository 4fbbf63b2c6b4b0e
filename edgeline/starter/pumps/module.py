"""What is special to windows: a column of them is [batch, 8], the earliest reading first."""

from edgeline.preprocessing import fill_missing

USUAL = {"pressure": 5.0, "flow": 20.0}  # for a reading that the sensor did not deliver


def preprocessing_fn(inputs):
    """Windows as they are, scaled; what a pump is called is not a feature."""
    import tensorflow as tf
    import tensorflow_transform as tft

    outputs = {
        name: tft.scale_to_z_score(fill_missing(inputs[name], usual))
        for name, usual in USUAL.items()
    }
    outputs["fails"] = tf.cast(inputs["fails"] == "yes", tf.int64)
    return outputs


def build_model(features, hyperparameters):
    """A convolution along time, which sees changes rather than levels."""
    import keras

    inputs = {name: keras.Input(features[name].shape[1:], name=name) for name in USUAL}
    steps = [keras.layers.Reshape((-1, 1))(each) for each in inputs.values()]
    hidden = keras.layers.Concatenate()(steps)  # [batch, 8, 2]
    hidden = keras.layers.Conv1D(hyperparameters.get("filters", 16), 3, activation="relu")(hidden)
    hidden = keras.layers.Flatten()(hidden)
    hidden = keras.layers.Dense(16, "relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid", name="prediction")(hidden))
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy", metrics=["accuracy"])
    return model
