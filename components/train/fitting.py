"""Fitting: the user's model on the transformed examples, resumable after a kill."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline import user_code
from edgeline.artifacts import Artifact
from edgeline.artifacts.examples import read_batches, splits
from edgeline.artifacts.fairness import FairnessSettings
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.components.train import (
    building,
    dataset,
    optimising,
    precision,
    replicas,
    saving,
    sharing,
)
from edgeline.components.train.class_weights import ClassWeights
from edgeline.components.train.dataset import RowWeights, Share
from edgeline.components.train.fair_training import GroupWeights, group_weights, penalised
from edgeline.components.train.gradients import NORM, watched_gradients
from edgeline.components.train.optimising import Optimisation
from edgeline.components.train.replicas import Replicas
from edgeline.components.train.saving import FittingState
from edgeline.components.train.steps import StepTimes, steps_per_call, watched
from edgeline.components.transform.saved_graph import check_label
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclass(frozen=True)
class Fitting:
    """How to train.

    `steps` batches of `batch_size` rows in all, cut into epochs of `steps_per_epoch`
    (0: one pass over the training split). After each epoch the model is evaluated on
    `eval_split` and a checkpoint is kept. After `patience` epochs without a smaller
    `val_loss` the training ends (0: never); the best epoch's weights are what is kept.
    `optimisation` begins with the second half of the epochs. `class_weights` are as
    `edgeline.components.train.class_weights.of` takes them, and count in the loss of the training,
    not in `val_loss`. Weights of rows, where the transformed examples have them, count in both.
    A batch is shared by `workers` processes (see `edgeline.components.train.replicas`).
    `mixed_precision` is one of `precision.KINDS`; `jit_compile` has XLA compile the step.
    `gradient_norms` has the norm of the gradients told by step and epoch, which makes the steps of
    small networks longer: it is an operator more for each variable. `fairness` is None where its
    mitigation does not change the training (see `fair_training`).
    """

    label: str
    steps: int
    batch_size: int = 40
    seed: int = 0
    train_split: str = "train"
    eval_split: str = "eval"
    steps_per_epoch: int = 0
    patience: int = 0
    optimisation: Optimisation = field(default_factory=Optimisation)
    class_weights: str = ""
    workers: int = 1
    mixed_precision: str = ""
    jit_compile: bool = False
    gradient_norms: bool = False
    fairness: FairnessSettings | None = None


def fit(
    module: str,
    transformed: Artifact,
    hyperparameters: Mapping[str, object],
    how: Fitting,
    checkpoints: Path,
    weights: ClassWeights | None = None,
    on_epoch: Callable[[FittingState], None] | None = None,
    times: StepTimes | None = None,
    strategy: tf.distribute.Strategy | None = None,
    worker: int = 0,
) -> tuple[keras.Model, FittingState]:
    """Train the user's model, from the last checkpoint where there is one.

    Of several workers each calls this with a strategy; without one the checkpoint that they have
    come to is read, and nothing trained. The GPUs of a machine share the batches of its worker.

    Args:
        module: the user's module with `build_model(features, hyperparameters)`.
        transformed: a `transformed_examples/v1` artifact.
        hyperparameters: handed to `build_model`.
        how: see `Fitting`.
        checkpoints: a folder of this very training; it may outlive a kill.
        weights: how much a row of each class counts in the loss.
        on_epoch: told after each epoch; what it raises ends the training.
        times: what the steps take is put in.
        strategy: a MultiWorkerMirroredStrategy, of one of several workers.
        worker: its number; 0 writes the checkpoints, and is the one that calls `on_epoch`.

    Returns:
        The trained Keras model, with the best weights where `patience` is set, and the
        state with its history.

    Raises:
        EdgelineError: a parameter is off, `build_model` fails or gives no compiled
            model, the label never differs, the loss stops being finite, or of several workers
            there is no checkpoint of the end.
    """
    import keras
    import tensorflow as tf

    columns = [Feature.from_json(value) for value in transformed.metadata["features"]]
    rows = splits(transformed)
    _check(columns, rows, how)
    _check_label(transformed, columns, how)
    keras.utils.set_random_seed(how.seed)
    if not tf.config.list_physical_devices("GPU"):  # a GPU lacks some operators in such a form
        tf.config.experimental.enable_op_determinism()  # a convolution's gradient is a race else
    label = next(column for column in columns if column.name == how.label)
    features = [column for column in columns if column is not label]
    row_weights: tuple[RowWeights | GroupWeights | None, RowWeights | None] = (
        RowWeights.of(transformed, how.train_split),
        RowWeights.of(transformed, how.eval_split),
    )
    fair = None
    if how.fairness and how.fairness.trains:
        before = RowWeights.of(transformed, how.train_split)
        columns_before = tuple(before.columns) if before else ()
        fair = group_weights(
            how.fairness, transformed, how.train_split, label, before, columns_before
        )
        row_weights = fair, row_weights[1]
        print(fair.note(), flush=True)
    penalty = fair if fair and fair.width else None
    values = None if weights is None else weights.values

    def built() -> keras.Model:
        return building.build(module, features, hyperparameters)

    where = strategy, how.workers, how.batch_size, how.mixed_precision, how.jit_compile
    model, strategy = building.placed(built, *where, how.gradient_norms or penalty is not None)
    features = building.taken(model, features)
    columns = [*features, label]
    share = Share.of(strategy, worker, how.workers)
    share.check(how.batch_size)

    def training(epoch: int) -> tf.data.Dataset:
        of_rows, seed = row_weights[0], [how.seed, epoch]
        where = transformed, how.train_split, columns, how.label
        return dataset.training_batches(*where, how.batch_size, seed, values, of_rows, share)

    def evaluation() -> tf.data.Dataset:
        where = transformed, how.eval_split, columns, how.label
        return dataset.evaluation_batches(*where, row_weights[1], share)

    steps_per_epoch = min(how.steps, how.steps_per_epoch or rows[how.train_split] // how.batch_size)
    epochs = math.ceil(how.steps / steps_per_epoch)
    optimised = epochs // 2 if how.optimisation.kind else epochs

    def wrap(model: keras.Model) -> keras.Model:
        steps = how.steps - optimised * steps_per_epoch
        return optimising.wrap(model, how.optimisation, steps)

    if not optimising.is_legacy(model):
        # many steps in one call of the graph: the Python between them costs more than they do
        model.steps_per_execution = steps_per_call(steps_per_epoch)
    times = times or StepTimes()
    state = saving.last(checkpoints)
    if state.epoch > optimised:
        model = wrap(model)
    shared = replicas.prepared(model, strategy, training(0).element_spec) if strategy else None
    if shared:
        replicas.same_everywhere(shared, state.epoch)
    saving.restore(model, features, checkpoints, state)
    if shared:
        replicas.draw_apart(shared)
    watching = watched_gradients(model) if how.gradient_norms else contextlib.nullcontext()
    adding = penalised(model, penalty) if penalty else contextlib.nullcontext()
    with watching as norms, adding as check_penalty:
        while state.epoch < epochs and not _stalled(state, how.patience):
            if how.workers > 1 and not shared:
                raise EdgelineError(
                    f"The {how.workers} workers have left no checkpoint after epoch {state.epoch} "
                    f"of {epochs}: see what they printed."
                )
            if state.epoch == optimised:
                model = wrap(model)
            calls: list[Any] = []
            if state.epoch >= optimised:
                calls += optimising.callbacks(how.optimisation)
            done = state.epoch * steps_per_epoch
            steps = min(steps_per_epoch, how.steps - done)
            if not optimising.is_legacy(model):
                calls.append(watched(state.by_step, done, steps, times, norms))
            given = training(state.epoch), evaluation()
            _advance(state, _fit_epoch(model, shared, *given, steps, calls, how.workers))
            if check_penalty:
                check_penalty()
            if worker:  # the first one's checkpoint is that of all
                continue
            saving.keep(model, state, checkpoints)
            print(_line(state, epochs), flush=True)
            if on_epoch:
                on_epoch(state)
    if how.patience and state.best != state.epoch and not worker:
        saving.load(model, saving.of_epoch(checkpoints, state.best))
    if how.optimisation.kind:
        return optimising.strip(model, how.optimisation), state
    if how.workers > 1 and strategy:
        return model, state  # whoever started the workers exports what the first has kept
    if strategy or how.mixed_precision:
        model = precision.plain(model, built, features)
    return model, state


def _check(columns: Sequence[Feature], rows: Mapping[str, int], how: Fitting) -> None:
    names = [column.name for column in columns]
    check_label(how.label, names)
    for parameter, split in (("train_split", how.train_split), ("eval_split", how.eval_split)):
        if not rows.get(split):
            raise EdgelineError(
                f"Parameter {parameter!r} is {split!r}, but the examples have no rows in it: "
                f"they have {', '.join(f'{name} ({count})' for name, count in rows.items())}."
            )
    if not 0 <= how.seed < 2**32:
        raise EdgelineError(f"Parameter 'seed' is {how.seed}: give a number from 0 to 2**32 - 1.")
    least = {"steps": 1, "batch_size": 1, "steps_per_epoch": 0, "patience": 0, "workers": 1}
    for parameter, value in least.items():
        if getattr(how, parameter) < value:
            raise EdgelineError(
                f"Parameter {parameter!r} is {getattr(how, parameter)}: "
                f"give a whole number of at least {value}."
            )
    how.optimisation.check(how.patience)
    precision.check(how.mixed_precision, how.workers)
    sharing.check(
        how.workers, how.batch_size, how.jit_compile, how.optimisation.kind, how.gradient_norms
    )
    if how.batch_size > rows[how.train_split]:
        raise EdgelineError(
            f"Parameter 'batch_size' is {how.batch_size}, but split {how.train_split!r} has only "
            f"{rows[how.train_split]} rows: make it smaller."
        )


def _check_label(transformed: Artifact, columns: Sequence[Feature], how: Fitting) -> None:
    """That the label has more than one value; data as they should be are read for one batch."""
    label = next(column for column in columns if column.name == how.label)
    first = None
    for batch in read_batches(transformed, how.train_split, [label.name]):
        values = to_numpy(batch, [label])[label.name]
        first = values[:1] if first is None and len(values) else first
        if first is not None and (values != first).any():
            return
    if first is not None:
        raise EdgelineError(
            f"The label {how.label!r} is {np.squeeze(first).tolist()} in every row of split "
            f"{how.train_split!r} after preprocessing_fn: there is nothing to learn from it."
        )


def _fit_epoch(
    model: keras.Model,
    shared: Replicas | None,
    training: tf.data.Dataset,
    evaluation: tf.data.Dataset,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
    workers: int,
) -> Mapping[str, Sequence[float]]:
    built = not optimising.is_legacy(model) and model.built
    try:
        if shared:
            return replicas.fit_epoch(shared, training, evaluation, steps, callbacks)
        if built and model.train_function is None:
            building.make_variables(model, training.element_spec)
        history = model.fit(
            training.take(steps),  # the last call ends where there are no more
            steps_per_epoch=steps,
            validation_data=evaluation,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        )
    except Exception as error:
        if workers > 1 and replicas.is_loss_of_worker(error):
            raise
        raise EdgelineError(user_code.describe(error, "Training")) from error
    return history.history  # type: ignore[no-any-return]


def _advance(state: FittingState, logs: Mapping[str, Sequence[float]]) -> None:
    for name, values in logs.items():
        # a checkpoint of an older version has no norms
        before = state.history.setdefault(name, [math.nan] * state.epoch)
        before.append(float(values[-1]))
    state.epoch += 1
    losses = state.history["val_loss"]
    if not (math.isfinite(losses[-1]) and math.isfinite(state.history["loss"][-1])):
        raise EdgelineError(
            f"The loss of epoch {state.epoch} is not finite: lower the learning rate, or look for "
            "missing or infinite values in the transformed examples."
        )
    state.best = 1 + losses.index(min(losses))


def _stalled(state: FittingState, patience: int) -> bool:
    return 0 < patience <= state.epoch - state.best


def _line(state: FittingState, epochs: int) -> str:
    told = {name: values[-1] for name, values in state.history.items() if name != NORM}
    numbers = ", ".join(f"{name} {value:.4f}" for name, value in told.items())
    return f"epoch {state.epoch} of {epochs}: {numbers}"
