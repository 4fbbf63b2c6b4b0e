"""Making a network fit for small devices while it trains, by TensorFlow Model Optimization.

The first half of the epochs trains the network as it is; then each layer is wrapped and the
rest trains on, with a new optimizer of the same configuration:

- `qat`: values are rounded as int8 will round them, so that the weights get used to it. What was
  learnt of the ranges stays in the exported model, and convert's int8 takes it from there.
- `pruning`: the smallest weights become 0, more and more up to a share (Zhu and Gupta, 2017).
- `clustering`: the weights of a layer share a few values (Han et al., 2016).

It takes a tf_keras model: build_model says `import tf_keras as keras` and is else the same.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeline import user_code
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import tf_keras

KINDS = ("", "qat", "pruning", "clustering")


@dataclass(frozen=True)
class Optimisation:
    """What to do.

    Attributes:
        kind: one of `KINDS`.
        sparsity: the share of weights that pruning makes 0.
        clusters: how many values clustering leaves to a weight tensor.
    """

    kind: str = ""
    sparsity: float = 0.5
    clusters: int = 16

    def check(self, patience: int) -> None:
        """Refuse what cannot be done.

        Raises:
            EdgelineError: names the parameter.
        """
        if self.kind not in KINDS:
            raise EdgelineError(
                f"Parameter 'optimisation' is {self.kind!r}: choose one of "
                f"{', '.join(filter(None, KINDS))}, or none."
            )
        if not 0 < self.sparsity < 1:
            raise EdgelineError(
                f"Parameter 'sparsity' is {self.sparsity}: give one within 0 and 1."
            )
        if self.clusters < 2:
            raise EdgelineError(f"Parameter 'clusters' is {self.clusters}: give at least 2.")
        if self.kind and patience:
            raise EdgelineError(
                "Parameters 'optimisation' and 'patience' exclude each other, for the best epoch "
                "may lie before the optimisation: set patience to 0."
            )


def is_legacy(model: tf_keras.Model) -> bool:
    """Whether a model is one of tf_keras rather than of Keras 3."""
    tf_keras = sys.modules.get("tf_keras")
    return tf_keras is not None and isinstance(model, tf_keras.Model)


def wrap(model: tf_keras.Model, how: Optimisation, steps: int) -> tf_keras.Model:
    """The model with its layers wrapped, compiled as it was; its weights are kept.

    Args:
        steps: batches that it will be trained on.

    Raises:
        EdgelineError: it is not a tf_keras model, or has layers that cannot be wrapped.
    """
    if not is_legacy(model):
        raise EdgelineError(
            f"Parameter 'optimisation' is {how.kind!r}, which takes a tf_keras model, but "
            f"build_model gave one of Keras 3: say `import tf_keras as keras` in build_model."
        )
    try:
        wrapped = _wrapped(model, how, steps)
    except (ValueError, RuntimeError, AttributeError) as error:
        raise EdgelineError(
            f"The network cannot be trained with optimisation {how.kind!r} "
            f"({user_code.reason(error)}): build it from layers that "
            "tensorflow_model_optimization knows, as a functional or sequential model."
        ) from error
    optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    wrapped.compile(optimizer, model.loss, metrics=model.compiled_metrics._user_metrics)
    return wrapped


def callbacks(how: Optimisation) -> list[tf_keras.callbacks.Callback]:
    """What a fit of the wrapped model needs."""
    if how.kind != "pruning":
        return []
    import tensorflow_model_optimization as tfmot

    return [tfmot.sparsity.keras.UpdatePruningStep()]


def strip(model: tf_keras.Model, how: Optimisation) -> tf_keras.Model:
    """The trained model as it is exported: without wrappers, but for what `qat` learnt."""
    import tensorflow_model_optimization as tfmot

    if how.kind == "pruning":
        return tfmot.sparsity.keras.strip_pruning(model)
    if how.kind == "clustering":
        return tfmot.clustering.keras.strip_clustering(model)
    return model


def _wrapped(model: tf_keras.Model, how: Optimisation, steps: int) -> tf_keras.Model:
    import tensorflow_model_optimization as tfmot

    if how.kind == "qat":
        return _quantised(model)
    if how.kind == "pruning":
        every = max(1, 3 * steps // 4 // 20)  # the last quarter trains with the zeros fixed
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            0.0, how.sparsity, 0, every * max(1, 3 * steps // 4 // every), frequency=every
        )
        return tfmot.sparsity.keras.prune_low_magnitude(model, schedule)
    return tfmot.clustering.keras.cluster_weights(
        model,
        number_of_clusters=how.clusters,
        cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
    )


def _quantised(model: tf_keras.Model) -> tf_keras.Model:
    """Rounding in every layer that floating values go through; embeddings are left as they are.

    The library would round integer inputs, too, and refuses a model for one layer that it does
    not know, so the layers are marked one by one.
    """
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry,
        default_8bit_transforms,
    )

    registry = default_8bit_quantize_registry.Default8BitQuantizeRegistry()

    def marked(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if isinstance(layer, tf_keras.layers.InputLayer):
            return layer
        floating = all(tensor.dtype.is_floating for tensor in tf.nest.flatten(layer.input))
        if floating and registry.supports(layer):
            return tfmot.quantization.keras.quantize_annotate_layer(layer)
        return layer

    class FloatingInputs(default_8bit_transforms.InputLayerQuantize):  # type: ignore[misc]
        def pattern(self) -> object:
            return default_8bit_transforms.LayerPattern("InputLayer", {"dtype": "float32"})

    annotated = tf_keras.models.clone_model(model, clone_function=marked)
    whole = default_8bit_transforms.InputLayerQuantize
    default_8bit_transforms.InputLayerQuantize = FloatingInputs
    try:
        return tfmot.quantization.keras.quantize_apply(annotated)
    finally:
        default_8bit_transforms.InputLayerQuantize = whole
