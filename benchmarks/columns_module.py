"""The module of `columns.py`: a column is scaled, bucketed or looked up, by its first letter.

Numbers are packed into one tensor and scaled together, as a table of many columns wants it: an
operation costs the same for one column as for 1,600, and everything behind the transform (training,
the edge model) then handles one feature instead of 1,600.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeline.preprocessing import fill_missing

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

BUCKETS, WORDS = 10, 10  # a column


def preprocessing_fn(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Raw columns to float32 features [batch, n], and the label as int64, [batch, 1]."""
    import tensorflow as tf
    import tensorflow_transform as tft

    def packed(letter: str) -> tf.Tensor:
        return tf.concat([value for name, value in inputs.items() if name[0] == letter], axis=1)

    whole = tf.cast(fill_missing(packed("i"), 0), tf.float32)
    numbers = tf.concat([fill_missing(packed("x"), 0.0), whole], axis=1)
    buckets = tft.bucketize(fill_missing(packed("b"), 0.0), BUCKETS, elementwise=True)
    words = [
        tft.compute_and_apply_vocabulary(value, top_k=WORDS, num_oov_buckets=1, vocab_filename=name)
        for name, value in inputs.items()
        if name[0] == "w"
    ]
    return {
        # far from what training had, rounding alone would make the edge's answers differ
        "numbers": tf.clip_by_value(tft.scale_to_z_score(numbers, elementwise=True), -10.0, 10.0),
        "buckets": tf.cast(buckets, tf.float32) / BUCKETS - 0.5,
        "words": tf.cast(tf.concat(words, axis=1), tf.float32) / WORDS - 0.5,
        "label": tf.cast(inputs["label"], tf.int64),
    }


def build_model(
    features: Mapping[str, tf.TensorSpec], hyperparameters: Mapping[str, Any]
) -> keras.Model:
    """A small network that gives the probability of a yes."""
    import keras

    inputs = {
        name: keras.Input(spec.shape[1:], name=name, dtype=spec.dtype.name)
        for name, spec in features.items()
    }
    hidden = keras.layers.Concatenate()(list(inputs.values()))
    hidden = keras.layers.Dense(hyperparameters.get("units", 16), activation="relu")(hidden)
    probability = keras.layers.Dense(1, activation="sigmoid", name="prediction")(hidden)
    model = keras.Model(inputs, probability)
    model.compile(keras.optimizers.Adam(0.003), "binary_crossentropy", metrics=["accuracy"])
    return model
