"""The metrics of a model's task on a labelled split, the cloud's and an edge model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgeline import artifacts
from edgeline.artifacts import examples, models
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.components.convert import running
from edgeline.components.convert.fallback import MetricValues
from edgeline.components.convert.raw_form import RawForm
from edgeline.components.convert.settings import Limit
from edgeline.errors import EdgelineError
from edgeline.formats.signature_names import as_taken, by_original
from edgeline.runtimes import metrics

if TYPE_CHECKING:
    import tensorflow as tf


def judge(
    form: RawForm, limit: Limit
) -> tuple[MetricValues, Callable[[bytes], tuple[MetricValues, float]]]:
    """The cloud model's metrics, and a function that judges an edge model beside them.

    Args:
        form: what edge models take, with the signatures of the loaded SavedModel.
        limit: says which rows.

    Returns:
        The function takes a LiteRT model and gives its metrics and the largest drop of any.

    Raises:
        EdgelineError: the split has no rows, or there are no labels to judge by.
    """
    cloud = metrics.metric(limit.task, limit.threshold)
    for _, answer in _batches(form.signatures, limit):
        cloud.add(_prediction(answer), answer[models.LABEL].reshape(-1))
    wanted = cloud.result()
    if not any(value is not None and value == value for value in wanted.values()):
        raise EdgelineError(
            f"Split {limit.split!r} of {limit.examples} gives no metric: quantisation 'auto' needs "
            "labelled rows."
        )

    def judged(model: bytes) -> tuple[MetricValues, float]:
        edge, counted = running.load(model), metrics.metric(limit.task, limit.threshold)
        for features, answer in _batches(form.signatures, limit):
            prediction = _prediction(running.answers(edge, form.feed(features)))
            counted.add(prediction, answer[models.LABEL].reshape(-1))
        found = counted.result()
        drops = [metrics.drop(name, wanted[name], found[name]) for name in wanted]
        return found, max(drop for drop in drops if drop is not None)

    return wanted, judged


def _batches(
    signatures: Mapping[str, tf.types.experimental.ConcreteFunction], limit: Limit
) -> Iterator[tuple[models.Arrays, models.Arrays]]:
    """Raw features of a split with what the cloud's `evaluate` gives for them."""
    if models.EVALUATE not in signatures:
        raise EdgelineError("The model has no signature 'evaluate', which gives the labels.")
    evaluate = signatures[models.EVALUATE]
    specs = evaluate.structured_input_signature[1]
    takes = [
        Feature(name, spec.dtype.name, tuple(spec.shape[1:]))
        for name, spec in sorted(by_original(specs).items())
    ]
    rows = artifacts.read(limit.examples, examples.SCHEMA)
    for batch in examples.read_batches(rows, limit.split, [feature.name for feature in takes]):
        arrays = as_taken(specs, to_numpy(batch, takes))
        yield arrays, running.call(evaluate, arrays)


def _prediction(answer: models.Arrays) -> Any:
    if models.PREDICTION not in answer:
        raise EdgelineError(
            f"The model gives {', '.join(sorted(answer))}, but no {models.PREDICTION!r} to judge."
        )
    return answer[models.PREDICTION]
