"""The module of `columns.py`: a column is scaled, bucketed or looked up, by its first letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeline.preprocessing import fill_missing

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def preprocessing_fn(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Raw columns to float32 features, and the label as int64, all [batch, 1]."""
    import tensorflow as tf
    import tensorflow_transform as tft

    outputs = {}
    for name, value in inputs.items():
        match name[0]:
            case "l":
                outputs[name] = tf.cast(value, tf.int64)
            case "w":
                index = tft.compute_and_apply_vocabulary(
                    value, top_k=10, num_oov_buckets=1, vocab_filename=name
                )
                outputs[name] = tf.cast(index, tf.float32)
            case "b":
                buckets = tft.bucketize(fill_missing(value, 0.0), 10)
                outputs[name] = tf.cast(buckets, tf.float32)
            case _:
                filled = tf.cast(fill_missing(value, 0), tf.float32)
                outputs[name] = tft.scale_to_z_score(filled)
    return outputs


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
