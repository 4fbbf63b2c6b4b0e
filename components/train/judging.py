"""The trained model on the evaluation split, by the metrics that every step has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgeline.artifacts import Artifact, example_weights, models
from edgeline.artifacts.examples import read_batches
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.components.train import dataset
from edgeline.components.train.export import named
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.network import taken
from edgeline.runtimes import metrics

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

DECISION_THRESHOLD = 0.5


def judge(network: keras.Model, transformed: Artifact, task: str, how: Fitting) -> dict[str, float]:
    """Metrics of `edgeline.runtimes.metrics` over each row of `how.eval_split`, weighted if it is.

    Args:
        network: the trained model, as it is exported.
        transformed: a `transformed_examples/v1` artifact.
        task: one of `edgeline.artifacts.models.TASKS`.
        how: names the label and the split.

    Returns:
        By name, those that are defined: none where the model gives no `prediction`, or one that
        does not fit the label, and no AUC where the rows have one class.
    """
    import tensorflow as tf

    columns = [Feature.from_json(value) for value in transformed.metadata["features"]]
    label = next(column for column in columns if column.name == how.label)
    features = taken(network, [column for column in columns if column is not label])
    specs = {f.name: tf.TensorSpec([None, *f.shape], f.dtype) for f in features}

    @tf.function(autograph=False, input_signature=[specs])  # type: ignore[untyped-decorator]
    def predict(arrays: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return named(network(arrays, training=False))

    counted = metrics.metric(task, DECISION_THRESHOLD)
    names = [column.name for column in (*features, label)]
    weighed_by = transformed.metadata.get(example_weights.KEY)
    names += [weighed_by] if weighed_by else []
    for batch in read_batches(transformed, how.eval_split, names, dataset.EVALUATION_ROWS):
        arrays = to_numpy(batch, [*features, label])
        truth = arrays.pop(how.label).reshape(len(batch), -1)
        answer = predict({name: tf.constant(array) for name, array in arrays.items()})
        if models.PREDICTION not in answer or truth.shape[1] != 1 or truth.dtype == object:
            return {}
        known = np.isfinite(truth[:, 0].astype(np.float64))
        prediction = answer[models.PREDICTION].numpy().reshape(len(batch), -1)
        weight = example_weights.of(batch, weighed_by)[known] if weighed_by else None
        counted.add(prediction[known], truth[known, 0], weight)
    return {name: value for name, value in counted.result().items() if value is not None}
