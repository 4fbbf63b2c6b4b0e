"""The user's network before its training: made by build_model, where and how it will be trained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeline import user_code
from edgeline.artifacts.features import Feature
from edgeline.components.train import optimising, precision, replicas
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


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


def placed(
    built: Callable[[], keras.Model],
    strategy: tf.distribute.Strategy | None,
    workers: int,
    batch_size: int,
    mixed_precision: str,
    jit_compile: bool,
    gradient_norms: bool = False,
) -> tuple[keras.Model, tf.distribute.Strategy | None]:
    """A network where it will be trained, and the strategy for that; None on one device.

    Args:
        built: gives the network.
        strategy: of one of several workers. A single worker takes the GPUs of its machine, so many
            that they share a batch equally, if the network can be trained on several.
        mixed_precision: one of `precision.KINDS`.
        jit_compile: whether XLA compiles the step.
        gradient_norms: whether gradients are watched, which are seen on one device alone.

    Raises:
        EdgelineError: several workers cannot train it, or XLA cannot compile it.
    """

    def made(strategy: tf.distribute.Strategy | None) -> keras.Model:
        scope = strategy.scope() if strategy else contextlib.nullcontext()
        with scope, precision.policy(mixed_precision):
            return built()

    alone = strategy is None and workers == 1
    # XLA cannot compile a step in which devices wait for each other
    if alone:
        strategy = replicas.local_strategy(batch_size)
    if strategy and alone and (jit_compile or gradient_norms):
        print(
            f"One of {strategy.num_replicas_in_sync} GPUs trains: the others cannot where "
            f"{'jit_compile' if jit_compile else 'gradient_norms'} is set."
        )
        strategy = None
    model = made(strategy)
    if mixed_precision and optimising.is_legacy(model):
        raise EdgelineError(
            f"Parameter 'mixed_precision' is {mixed_precision!r}, but build_model gave a tf_keras "
            "model, which does not know of it: leave it out, or set tf_keras' own policy."
        )
    if strategy and (why := replicas.refused(model)):
        if not alone:
            raise EdgelineError(f"{workers} workers cannot train this network: {why}.")
        model, strategy = made(None), None
    if jit_compile:
        _compile(model)
    return model, strategy


def _compile(model: keras.Model) -> None:
    if optimising.is_legacy(model):
        raise EdgelineError(
            "Parameter 'jit_compile' is set, but build_model gave a tf_keras model, which says so "
            "itself: leave it out, or say compile(jit_compile=True)."
        )
    for layer in model._flatten_layers():
        if not layer.supports_jit:
            raise EdgelineError(
                f"Parameter 'jit_compile' is set, but XLA cannot compile the layer {layer.name}: "
                "leave it out."
            )
    # the property's setter would leave it off, since some operators that are deterministic have no
    # form in XLA; a network with one of these fails in its first step, and says with which
    model._jit_compile = True


def make_variables(model: keras.Model, spec: Any) -> None:
    """Have the training's variables before its first step: where that makes some, TensorFlow traces
    it twice, which takes longer than a thousand steps of a small network.

    Args:
        spec: of a batch, as the data set gives them.
    """
    import keras
    import tensorflow as tf

    def zeros(spec: tf.TensorSpec) -> tf.Tensor:
        return tf.zeros([size or 1 for size in spec.shape], spec.dtype)

    x, y, weight = keras.utils.unpack_x_y_sample_weight(tf.nest.map_structure(zeros, spec))
    if weight is not None and len(weight.shape) > 1:  # with the group beside it
        weight = weight[:, 0]
    states = [(each, each.numpy()) for each in model.non_trainable_variables]
    with contextlib.suppress(Exception):  # of a batch that is none: the training makes them then
        prediction = model(x, training=False)
        model.compute_loss(x, y, prediction, weight, training=False)
        model.compute_metrics(x, y, prediction, weight)
        model.optimizer.build(model.trainable_variables)
    for variable, value in states:  # as if nothing had been: of what draws by chance, for example
        variable.assign(value)
    model.reset_metrics()
