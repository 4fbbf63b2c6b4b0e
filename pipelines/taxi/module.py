"""Chicago taxi trips: will the tip exceed a fifth of the fare?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeline.preprocessing import fill_missing

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

LABEL = "big_tip"

DENSE = ("trip_miles", "fare", "trip_seconds")
BUCKETS = {
    "pickup_latitude": 10,
    "pickup_longitude": 10,
    "dropoff_latitude": 10,
    "dropoff_longitude": 10,
}
VOCABULARIES = {"payment_type": 100, "company": 1000}
CATEGORIES = {  # integers from 0; the last stands for missing or out of range
    "trip_start_hour": 25,
    "trip_start_day": 9,
    "trip_start_month": 14,
    "pickup_community_area": 79,
    "dropoff_community_area": 79,
}


def preprocessing_fn(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Raw trips to model features, all [batch, 1]: float32 scores and int64 indices."""
    import tensorflow as tf
    import tensorflow_transform as tft

    outputs = {}
    for name in DENSE:
        value = fill_missing(inputs[name], 0)
        outputs[name] = tft.scale_to_z_score(tf.cast(value, tf.float32))
    for name, buckets in BUCKETS.items():
        outputs[name] = tft.bucketize(fill_missing(inputs[name], 0.0), buckets)
    for name, size in VOCABULARIES.items():
        outputs[name] = tft.compute_and_apply_vocabulary(
            inputs[name], top_k=size, num_oov_buckets=1, vocab_filename=name
        )
    for name, size in CATEGORIES.items():
        value = fill_missing(inputs[name], size - 1)
        outputs[name] = tf.clip_by_value(value, 0, size - 1)

    fare, tips = fill_missing(inputs["fare"], 0.0), fill_missing(inputs["tips"], 0.0)
    outputs[LABEL] = tf.cast(tips > 0.2 * fare, tf.int64)
    return outputs


def build_model(
    features: Mapping[str, tf.TensorSpec], hyperparameters: Mapping[str, Any]
) -> keras.Model:
    """A wide and deep network on the transformed features; gives the probability of a big tip."""
    import keras

    inputs = {
        name: keras.Input(spec.shape[1:], name=name, dtype=spec.dtype.name)
        for name, spec in features.items()
    }
    sizes = {
        **BUCKETS,
        **{name: size + 1 for name, size in VOCABULARIES.items()},  # one for the unknown
        **CATEGORIES,
    }
    dense = keras.layers.Concatenate()([inputs[name] for name in DENSE])
    embedded = [
        keras.layers.Flatten()(keras.layers.Embedding(size, 8, name=f"embed_{name}")(inputs[name]))
        for name, size in sizes.items()
    ]
    hidden = keras.layers.Concatenate()([dense, *embedded])
    for units in hyperparameters.get("hidden_units", [100, 70, 50, 25]):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
    probability = keras.layers.Dense(1, activation="sigmoid", name="prediction")(hidden)

    model = keras.Model(inputs, probability)
    model.compile(
        optimizer=keras.optimizers.Adam(hyperparameters.get("learning_rate", 0.001)),
        loss="binary_crossentropy",
        metrics=["accuracy", keras.metrics.AUC(name="auc")],
    )
    return model
