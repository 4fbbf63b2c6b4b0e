"""The user's network: built from the transformed features, and which of these it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeline import user_code
from edgeline.artifacts.features import Feature
from edgeline.components.train import optimising
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import keras


def build(
    module: str, columns: Sequence[Feature], hyperparameters: Mapping[str, object]
) -> keras.Model:
    """The user's network on some features, not yet trained.

    Raises:
        EdgelineError: `build_model` fails, or gives no compiled model.
    """
    import keras
    import tensorflow as tf

    specs = {
        column.name: tf.TensorSpec([None, *column.shape], tf.dtypes.as_dtype(column.dtype))
        for column in columns
    }
    build_model = user_code.function(user_code.load(module), "build_model")
    try:
        model = build_model(specs, dict(hyperparameters))
    except Exception as error:
        told = user_code.describe(error, "build_model")
        if "cannot contain character `/`" in told:  # of Keras, about the name of an input
            told += (
                ": leave the name out, an input is known by its key in keras.Model({key: input})."
            )
        raise EdgelineError(told) from error
    legacy = optimising.is_legacy(model)
    compiled = getattr(model, "_is_compiled" if legacy else "compiled", False)
    if not (legacy or isinstance(model, keras.Model)) or not compiled:
        raise EdgelineError(
            f"build_model gave {type(model).__name__}, not a compiled Keras 3 or tf_keras model: "
            "call model.compile(...) and return the model."
        )
    return model


def taken(network: keras.Model, features: Sequence[Feature]) -> list[Feature]:
    """The features that a network takes: those of its named inputs, or all.

    Raises:
        EdgelineError: it has an input that is none of the features.
    """
    inputs = network.input if getattr(network, "inputs", None) else None
    if not isinstance(inputs, Mapping):
        return list(features)
    names = [feature.name for feature in features]
    for name in inputs:
        if name not in names:
            raise EdgelineError(
                f"build_model's network has the input {name!r}, but preprocessing_fn gives "
                f"{', '.join(names)}: name each input like the feature that it takes."
            )
    return [feature for feature in features if feature.name in inputs]
