"""What is special to this project: which features the model takes, and the model itself.

TensorFlow is imported where it is used, so that a step loads only what it needs.
"""

from edgeline.preprocessing import fill_missing

LABEL = "fault"

# columns of numbers, and what stands for a reading that a sensor did not deliver
NUMBERS = {
    "temperature": -20.0,
    "humidity": 55,
    "power": 3.5,
    "vibration": 1.0,
    "door_openings": 9,
    "age": 7,
}
# columns of words
WORDS = ["compressor"]
KINDS = 10  # a word is one of at most so many; all others count as one more


def preprocessing_fn(inputs):
    """Raw columns to what the model takes. Runs in training and, the same, on the device.

    Every tensor is [batch, 1]. What is learnt from the data (a mean, a vocabulary) is learnt
    from the training rows and kept in the model.
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    outputs = {}
    for name, usual in NUMBERS.items():
        value = tf.cast(fill_missing(inputs[name], usual), tf.float32)
        outputs[name] = tft.scale_to_z_score(value)
    for name in WORDS:
        outputs[name] = tft.compute_and_apply_vocabulary(
            inputs[name], top_k=KINDS, num_oov_buckets=1, vocab_filename=name
        )
    outputs[LABEL] = tf.cast(inputs[LABEL] == "yes", tf.int64)
    return outputs


def build_model(features, hyperparameters):
    """A small network that gives the probability of a fault.

    `features` are the outputs of preprocessing_fn without the label, by name.
    """
    import keras

    inputs = {
        name: keras.Input(spec.shape[1:], name=name, dtype=spec.dtype.name)
        for name, spec in features.items()
    }
    columns = [inputs[name] for name in NUMBERS]
    for name in WORDS:
        embedding = keras.layers.Embedding(KINDS + 1, 4, name=f"embed_{name}")
        columns.append(keras.layers.Flatten()(embedding(inputs[name])))

    hidden = keras.layers.Concatenate()(columns)
    for units in hyperparameters.get("hidden_units", [32, 16]):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    probability = keras.layers.Dense(1, activation="sigmoid", name="prediction")(hidden)

    model = keras.Model(inputs, probability)
    model.compile(
        optimizer=keras.optimizers.Adam(hyperparameters.get("learning_rate", 0.003)),
        loss="binary_crossentropy",
        metrics=["accuracy", keras.metrics.AUC(name="auc")],
    )
    return model
