"""Numbers to a number. The label keeps its unit: the network learns it scaled, and scales back."""

from edgeline.preprocessing import fill_missing

NUMBERS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
MEAN, DEVIATION = 152.0, 77.0  # of the label, about


def preprocessing_fn(inputs):
    """Each column scaled by the training rows' mean and deviation; the label as a number."""
    import tensorflow as tf
    import tensorflow_transform as tft

    outputs = {
        name: tft.scale_to_z_score(tf.cast(fill_missing(inputs[name], 0), tf.float32))
        for name in NUMBERS
    }
    outputs["progression"] = tf.cast(inputs["progression"], tf.float32)
    return outputs


def build_model(features, hyperparameters):
    """A straight line, which is the best that 442 rows give."""
    import keras

    inputs = {name: keras.Input((1,), name=name) for name in features}
    whole = keras.layers.Concatenate()(list(inputs.values()))
    line = keras.layers.Dense(
        1, kernel_regularizer=keras.regularizers.L2(hyperparameters.get("l2", 0.01))
    )(whole)
    number = keras.layers.Rescaling(DEVIATION, MEAN, name="prediction")(line)
    model = keras.Model(inputs, number)
    model.compile(keras.optimizers.Adam(0.01), "mean_squared_error", metrics=["mae"])
    return model
