"""Predictions: raw rows through a model's `evaluate` signature, in large batches.

The label comes out of the model too, from the transform graph it carries, so that there
is no second definition of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from edgeline.artifacts import Artifact, batches, example_weights, features, models
from edgeline.artifacts.ahead import ahead
from edgeline.components.analyze import published
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes import original
from edgeline.runtimes.interpreter import CrashError


@dataclass(frozen=True)
class Predicted:
    """Some rows with what the models say.

    label: float32 [rows]; predictions by model name: float32 [rows] or [rows, classes];
    weights by model name, of those that have some: float64 [rows]; raw: the rows themselves.
    """

    label: npt.NDArray[np.float32]
    predictions: Mapping[str, npt.NDArray[np.float32]]
    weights: Mapping[str, npt.NDArray[np.float64]]
    raw: pa.RecordBatch


class ModelEndedError(EdgelineError):
    """The candidate or its baseline ended its process on rows: there is nothing to judge by."""


BATCH_ROWS = 4096  # of the taxi data TensorFlow holds some 8 kB per row beside a batch
Predict = Callable[[pa.RecordBatch, str], Predicted]


def loaded(
    model_paths: Mapping[str, str], task: str, weight_columns: Mapping[str, str]
) -> tuple[Predict, list[str]]:
    """The models as one function of raw rows, and the columns it takes.

    Args:
        model_paths: folders of originals by model name (see
            `edgeline.runtimes.original`), the candidate first: its label counts.
        task: one of `edgeline.artifacts.models.TASKS`.
        weight_columns: the column of example weights by model name, of those that have one.

    Returns:
        A function of a record batch and a word for where it is from (for messages), which raises a
        `ModelEndedError` where a model crashes or goes beyond a limit.
    """
    originals = {name: original.load(path) for name, path in model_paths.items()}
    first = next(iter(originals.values())).artifact
    originals = {name: published.in_classes_of(first, each) for name, each in originals.items()}
    signatures = {name: (model.evaluate, model.takes) for name, model in originals.items()}
    candidate = next(iter(signatures))

    def predict(batch: pa.RecordBatch, where: str) -> Predicted:
        label, predictions = None, {}
        for name, (call, takes) in signatures.items():
            arrays = features.to_numpy(batch, takes)
            try:
                outputs = _outputs(call, arrays, model_paths[name], where, len(batch))
            except CrashError as crash:
                raise _ended(crash, name == candidate, where, len(batch)) from crash
            predictions[name] = _prediction(
                outputs[models.PREDICTION], task, model_paths[name], where
            )
            if name == candidate:
                label = _label(
                    outputs[models.LABEL], task, predictions[name], model_paths[name], where
                )
        assert label is not None
        weights = {
            name: example_weights.of(batch, column) for name, column in weight_columns.items()
        }
        return Predicted(label, predictions, weights, batch)

    columns = {feature.name for _, takes in signatures.values() for feature in takes}
    return predict, sorted({*columns, *weight_columns.values()})


def stream(predict: Predict, parts: list[Path], columns: list[str]) -> Iterator[Predicted]:
    """Predict the rows of some Parquet files, in order."""
    # Arrow's own allocator keeps what it held, beside what TensorFlow keeps: 20 MB of the peak
    pa.set_memory_pool(pa.system_memory_pool())
    for part in parts:
        first = 0
        # a buffer of all row groups would be kept until the part ends
        with pq.ParquetFile(part, pre_buffer=False) as file:
            for batch in ahead(batches.stream(file, columns, BATCH_ROWS)):
                yield predict(batch, f"{part.parent.name}/{part.name}, rows from {first}")
                first += len(batch)


def check_count(rows: int, expected: int, step: str) -> None:
    """Refuse a result that has lost or doubled rows.

    Raises:
        EdgelineError: tells both numbers.
    """
    if rows != expected:
        raise EdgelineError(
            f"{step} gave {rows} rows where the split has {expected}: run the step again, and "
            "report it if it stays so."
        )


def task_of(model: Artifact, baseline: Artifact | None) -> str:
    """The task of a model, which its baseline must share.

    Raises:
        EdgelineError: the tasks differ.
    """
    task: str = model.metadata["task"]
    if baseline and baseline.metadata["task"] != task:
        raise EdgelineError(
            f"baseline_model_uri holds a model for {baseline.metadata['task']}, but {model.path} "
            f"is for {task}: compare models of one task."
        )
    return task


def _outputs(
    call: Callable[[models.Arrays], models.Arrays],
    arrays: models.Arrays,
    model: str,
    where: str,
    rows: int,
) -> models.Arrays:
    import tensorflow as tf

    try:
        outputs = call(arrays)
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise EdgelineError(
            f"{model} cannot evaluate a batch ({where}): {str(error).splitlines()[0].rstrip('.')}."
        ) from error
    for name in (models.PREDICTION, models.LABEL):
        if name not in outputs:
            raise EdgelineError(
                f"The evaluate signature of {model} gives {', '.join(sorted(outputs))}, but not "
                f"{name!r}: train the model with edgeline's train component."
            )
        check_count(len(outputs[name]), rows, f"Output {name!r} of {model}")
    return outputs


def _ended(crash: CrashError, is_candidate: bool, where: str, rows: int) -> ModelEndedError:
    model, way_out = crash.model, crash.way_out
    if not is_candidate:
        model, way_out = f"The baseline {model}", "name another as baseline_model_uri"
    batch = f" of a batch ({where})"
    return ModelEndedError(
        str(CrashError(model, crash.how, crash.rows or range(rows), way_out, batch))
    )


def _prediction(values: Any, task: str, model: str, where: str) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = np.asarray(values, np.float32).reshape(len(values), -1)
    wrong = ~np.isfinite(found).all(axis=1)
    if wrong.any():
        raise EdgelineError(
            f"{model} predicts {found[wrong][0].tolist()} for row {int(wrong.argmax())} of a "
            f"batch ({where}): fix the model so that it gives finite numbers, "
            "also for missing found."
        )
    if task == "multiclass_classification":
        return found
    if found.shape[1] != 1:
        raise EdgelineError(
            f"{model} gives {found.shape[1]} predictions a row, but a {task} model gives one: "
            "correct the model or its task."
        )
    return found[:, 0]


def _label(
    values: Any, task: str, prediction: Array, model: str, where: str
) -> npt.NDArray[np.float32]:
    wide = np.asarray(values, np.float32).reshape(len(values), -1)
    if wide.shape[1] != 1:
        raise EdgelineError(f"{model} gives labels of {wide.shape[1]} values: one is needed.")
    label: npt.NDArray[np.float32] = wide[:, 0]
    if task == "binary_classification":
        good, need = np.isin(label, (0, 1)), "0 or 1"
    elif task == "multiclass_classification":
        classes = prediction.shape[1]
        good = (label >= 0) & (label < classes) & (label == np.floor(label))
        need = f"a class index from 0 to {classes - 1}"
    else:
        good, need = np.isfinite(label), "a finite number"
    if not good.all():
        row = int((~good).argmax())
        raise EdgelineError(
            f"The label of row {row} of a batch ({where}) is {label[row]:g}, but must be {need}: "
            "correct the data or the label in preprocessing_fn."
        )
    return label
