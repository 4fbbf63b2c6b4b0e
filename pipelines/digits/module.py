"""Handwritten digits: pixels to one of ten classes.

Scaling is the only transform, so it becomes part of the quantised network: the int8 model takes
pixels as they are, and no operator of it stays with the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

LABEL = "digit"
CLASSES = 10


def preprocessing_fn(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Pixels [batch, 28, 28, 1] from 0 to 255 to float32 from 0 to 1; the label as it is."""
    return {"image": inputs["image"] / 255.0, LABEL: inputs["label"]}


def build_model(
    features: Mapping[str, tf.TensorSpec], hyperparameters: Mapping[str, Any]
) -> keras.Model:
    """A small convolutional network; gives the probabilities of the ten digits."""
    import keras

    image = keras.Input(features["image"].shape[1:], name="image")
    hidden = image
    for filters in hyperparameters.get("filters", [24, 48]):
        hidden = keras.layers.Conv2D(filters, 3, activation="relu")(hidden)
        hidden = keras.layers.MaxPooling2D()(hidden)
    hidden = keras.layers.Flatten()(hidden)
    hidden = keras.layers.Dropout(hyperparameters.get("dropout", 0.5))(hidden)
    odds = keras.layers.Dense(CLASSES, activation="softmax", name="prediction")(hidden)

    model = keras.Model({"image": image}, odds)
    model.compile(
        optimizer=keras.optimizers.Adam(hyperparameters.get("learning_rate", 0.002)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
