"""A backbone from a file, frozen at first and fine-tuned then.

For a cluster, put the file where its tasks can read it; a model of a hub is one such file, too.
"""


def preprocessing_fn(inputs):
    """Pixels from 0 to 255, as the backbone takes them; the folder's name as the class."""
    import tensorflow_transform as tft

    return {
        "image": inputs["image"],
        "symbol": tft.compute_and_apply_vocabulary(inputs["label"], vocab_filename="symbol"),
    }


def build_model(features, hyperparameters):
    """The backbone without its last layer, and a new one for the symbols."""
    import keras

    frozen = hyperparameters["frozen_steps"]
    known = keras.models.load_model(hyperparameters["backbone"], compile=False)
    backbone = keras.Model(known.inputs, known.layers[-2].output, name="backbone")
    image = keras.Input(features["image"].shape[1:], name="image")
    hidden = frozen_first(frozen)(backbone(image))
    hidden = keras.layers.Dense(32, "relu")(keras.layers.Dropout(0.4)(hidden))
    hidden = keras.layers.Dropout(0.4)(hidden)  # of so few pictures all are learnt by heart else
    symbols = keras.layers.Dense(4, "softmax", name="prediction")(hidden)
    model = keras.Model({"image": image}, symbols)
    # small steps once the backbone learns, or it forgets what it knows
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([frozen], [2e-3, 2e-4])
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def frozen_first(steps):
    """A layer that gives what it takes, and lets no gradient through in the first steps, so that
    what stands before it stays as it is meanwhile."""
    import keras
    import tensorflow as tf

    class FrozenFirst(keras.layers.Layer):
        def build(self, shape):
            self.seen = self.add_weight(shape=(), dtype="int64", trainable=False, name="seen")
            super().build(shape)

        def call(self, values, training=False):
            if not training:
                return values
            self.seen.assign_add(tf.ones((), tf.int64))
            learns = tf.cast(self.seen > steps, values.dtype)
            return tf.stop_gradient(values) * (1 - learns) + values * learns

    return FrozenFirst(name="frozen_first")
