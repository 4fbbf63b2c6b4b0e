"""Export: the trained network and the transform graph as one SavedModel.

Its four signatures are described in `edgeline.artifacts.models`. Raw features that only the label
needs are not asked for by `serving_default`: the graph gets them as missing values there.
The signatures have the names of `edgeline.formats.signature_names`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeline.artifacts import models
from edgeline.artifacts.features import MISSING, Feature
from edgeline.components.train.network import taken
from edgeline.components.transform.saved_graph import SavedGraph
from edgeline.errors import EdgelineError
from edgeline.formats.signature_names import by_original, by_safe, told_apart

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def export(
    network: keras.Model,
    graph: SavedGraph,
    raw_features: Sequence[Feature],
    transformed: Sequence[Feature],
    label: str,
    path: Path,
) -> list[Feature]:
    """Write the SavedModel.

    Args:
        network: the trained Keras model on transformed features.
        graph: the transform graph.
        raw_features: the raw features of the schema.
        transformed: the outputs of the graph, the label among them.
        label: the name of the label among `transformed`.
        path: the folder to write.

    Returns:
        The raw features that `serving_default` takes.

    Raises:
        EdgelineError: the model has several unnamed outputs.
    """
    import tensorflow as tf

    dependencies = graph.dependencies()
    model_features = taken(network, [f for f in transformed if f.name != label])
    needed = {raw for feature in model_features for raw in dependencies[feature.name]}
    for_label = needed | set(dependencies[label])
    served = [feature for feature in raw_features if feature.name in needed]
    evaluated = [feature for feature in raw_features if feature.name in for_label]

    raw_names = told_apart(feature.name for feature in raw_features)
    names = told_apart(feature.name for feature in model_features)

    def transform(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        rows = tf.shape(next(iter(inputs.values())))[0]
        complete = {
            feature.name: inputs[feature.name]
            if feature.name in inputs
            else tf.fill([rows, *feature.shape], _missing(feature))
            for feature in raw_features
        }
        outputs = graph.tensors(complete)
        for feature in transformed:
            outputs[feature.name] = tf.ensure_shape(outputs[feature.name], [None, *feature.shape])
        return outputs

    def predict(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return named(network({f.name: features[f.name] for f in model_features}, training=False))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def serving_default(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return by_safe(predict(transform(by_original(inputs))))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def evaluate(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = transform(by_original(inputs))
        return {**by_safe(predict(outputs)), models.LABEL: outputs[label]}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def transform_only(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = transform(by_original(inputs))
        return {names[feature.name]: outputs[feature.name] for feature in model_features}

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def predict_transformed(**features: tf.Tensor) -> dict[str, tf.Tensor]:
        return by_safe(predict(by_original(features)))

    module = tf.Module()
    module.network, module.states = network, variables(network)
    module.graph = graph.loaded
    for table in graph.loaded.resources:
        _keep_functions(table)
    tf.saved_model.save(
        module,
        str(path),
        signatures={
            models.SERVING: serving_default.get_concrete_function(**_specs(served, raw_names)),
            models.EVALUATE: evaluate.get_concrete_function(**_specs(evaluated, raw_names)),
            models.TRANSFORM: transform_only.get_concrete_function(**_specs(served, raw_names)),
            models.PREDICT_TRANSFORMED: predict_transformed.get_concrete_function(
                **_specs(model_features, names)
            ),
        },
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),  # for inference
    )
    return served


def _keep_functions(table: Any) -> None:
    """Have a restored lookup table saved with the functions that it was restored with.

    TensorFlow would put new ones around them: ten for each table, which take most of the time and
    memory of loading a model of many vocabularies.
    """
    found = table._trackable_children
    restored: dict[str, Any] = {}
    for name in ("_create_resource", "_initialize", "_destroy_resource"):
        restored[name] = function = getattr(table, name)
        (traced,) = function.concrete_functions
        function.get_concrete_function = lambda traced=traced: traced

    def children(save_type: str = "checkpoint", **options: Any) -> dict[str, Any]:
        own: dict[str, Any] = found(save_type, **options)
        return {**own, **restored} if save_type == "savedmodel" else own

    table._trackable_children = children


def variables(network: keras.Model) -> list[tf.Variable]:
    """All variables of a Keras model as a SavedModel keeps them.

    What a SavedModel finds by itself lacks the state of random layers (augmentation), which their
    graph holds on to where it does nothing.
    """
    import tensorflow as tf

    return [v if isinstance(v, tf.Variable) else v.value for v in network.variables]


def check_names(names: Iterable[str]) -> None:
    """Check, before the training, that a function can be called with some features.

    Raises:
        EdgelineError: a name is empty, or one that calls in Python keep for themselves.
    """
    for name in names:
        if name in ("", "self"):
            raise EdgelineError(
                f"Feature {name!r} has a name by which neither TensorFlow nor LiteRT can be given "
                "it: name the column with rename of ingest, or the output in preprocessing_fn."
            )


def _missing(feature: Feature) -> tf.Tensor:
    import tensorflow as tf

    return tf.constant(MISSING[feature.dtype], tf.dtypes.as_dtype(feature.dtype))


def _specs(features: Sequence[Feature], names: Mapping[str, str]) -> dict[str, tf.TensorSpec]:
    import tensorflow as tf

    return {
        name: tf.TensorSpec([None, *feature.shape], tf.dtypes.as_dtype(feature.dtype), name=name)
        for feature in features
        for name in [names[feature.name]]
    }


def named(outputs: tf.Tensor | Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """A network's outputs by name; one alone is the prediction.

    Raises:
        EdgelineError: there are several without names.
    """
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, (list, tuple)):
        raise EdgelineError(
            "build_model's network has several outputs in a list: give them names, "
            "keras.Model(inputs, {'name': output, ...})."
        )
    return {models.PREDICTION: outputs}
