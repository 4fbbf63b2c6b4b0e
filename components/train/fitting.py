"""Fitting: the user's model on the transformed examples, resumable after a kill."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline import artifacts, user_code
from edgeline.artifacts import Artifact
from edgeline.artifacts.examples import read_batches, splits
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.components.train import dataset, optimising
from edgeline.components.train.class_weights import ClassWeights
from edgeline.components.train.dataset import RowWeights
from edgeline.components.train.gradients import NORM, watched_gradients
from edgeline.components.train.network import build, taken
from edgeline.components.train.optimising import Optimisation
from edgeline.components.train.steps import StepTimes, steps_per_call, watched
from edgeline.components.transform.saved_graph import check_label
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

CHECKPOINT_SCHEMA = "checkpoint/v1"
VARIABLES = "variables.npz"


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
    `gradient_norms` has the norm of the gradients told by step and epoch, which makes the steps of
    small networks longer: it is an operator more for each variable.
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
    gradient_norms: bool = False


@dataclass
class FittingState:
    """How far a training has come: what a checkpoint holds beside the weights.

    `history` has one list a metric, one value an epoch, and one of the gradients' norm where that
    is watched. `best` is the epoch (from 1) with the smallest `val_loss`. `by_step` are the points
    of `steps.watched`.
    """

    epoch: int = 0
    best: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    by_step: list[list[float]] = field(default_factory=list)


def fit(
    module: str,
    transformed: Artifact,
    hyperparameters: Mapping[str, object],
    how: Fitting,
    checkpoints: Path,
    weights: ClassWeights | None = None,
    on_epoch: Callable[[FittingState], None] | None = None,
    times: StepTimes | None = None,
) -> tuple[keras.Model, FittingState]:
    """Train the user's model, from the last checkpoint where there is one.

    Args:
        module: the user's module with `build_model(features, hyperparameters)`.
        transformed: a `transformed_examples/v1` artifact.
        hyperparameters: handed to `build_model`.
        how: see `Fitting`.
        checkpoints: a folder of this very training; it may outlive a kill.
        weights: how much a row of each class counts in the loss.
        on_epoch: told after each epoch; what it raises ends the training.
        times: what the steps take is put in.

    Returns:
        The trained Keras model, with the best weights where `patience` is set, and the
        state with its history.

    Raises:
        EdgelineError: a parameter is off, `build_model` fails or gives no compiled
            model, the label never differs, or the loss stops being finite.
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
    row_weights = (
        RowWeights.of(transformed, how.train_split),
        RowWeights.of(transformed, how.eval_split),
    )
    model = build(module, features, hyperparameters)
    features = taken(model, features)

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
    state = _last(checkpoints)
    if state.epoch > optimised:
        model = wrap(model)
    _restore(model, features, checkpoints, state)
    watching = watched_gradients(model) if how.gradient_norms else contextlib.nullcontext()
    with watching as norms:
        while state.epoch < epochs and not _stalled(state, how.patience):
            if state.epoch == optimised:
                model = wrap(model)
            calls: list[Any] = []
            if state.epoch >= optimised:
                calls += optimising.callbacks(how.optimisation)
            done = state.epoch * steps_per_epoch
            steps = min(steps_per_epoch, how.steps - done)
            if not optimising.is_legacy(model):
                calls.append(watched(state.by_step, done, steps, times, norms))
            columns = [*features, label]
            logs = _fit_epoch(
                model, transformed, columns, how, state.epoch, steps, calls, weights, row_weights
            )
            _advance(state, logs)
            _keep(model, state, checkpoints)
            print(_line(state, epochs), flush=True)
            if on_epoch:
                on_epoch(state)
    if how.patience and state.best != state.epoch:
        _load(model, _folder(checkpoints, state.best))
    return (optimising.strip(model, how.optimisation) if how.optimisation.kind else model), state


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
    least = {"steps": 1, "batch_size": 1, "steps_per_epoch": 0, "patience": 0}
    for parameter, value in least.items():
        if getattr(how, parameter) < value:
            raise EdgelineError(
                f"Parameter {parameter!r} is {getattr(how, parameter)}: "
                f"give a whole number of at least {value}."
            )
    how.optimisation.check(how.patience)
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
    transformed: Artifact,
    columns: Sequence[Feature],
    how: Fitting,
    epoch: int,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
    weights: ClassWeights | None,
    row_weights: tuple[RowWeights | None, RowWeights | None],
) -> Mapping[str, Sequence[float]]:
    of_training, of_evaluation = row_weights
    training = dataset.training_batches(
        transformed,
        how.train_split,
        columns,
        how.label,
        how.batch_size,
        [how.seed, epoch],
        None if weights is None else weights.values,
        of_training,
    )
    evaluation = dataset.evaluation_batches(
        transformed, how.eval_split, columns, how.label, of_evaluation
    )
    if not optimising.is_legacy(model) and model.built and model.train_function is None:
        _make_variables(model, training.element_spec)
    try:
        history = model.fit(
            training.take(steps),  # the last call ends where there are no more
            steps_per_epoch=steps,
            validation_data=evaluation,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        )
    except Exception as error:
        raise EdgelineError(user_code.describe(error, "Training")) from error
    return history.history  # type: ignore[no-any-return]


def _make_variables(model: keras.Model, spec: Any) -> None:
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
    states = [(each, each.numpy()) for each in model.non_trainable_variables]
    with contextlib.suppress(Exception):  # of a batch that is none: the training makes them then
        prediction = model(x, training=False)
        model.compute_loss(x, y, prediction, weight, training=False)
        model.compute_metrics(x, y, prediction, weight)
        model.optimizer.build(model.trainable_variables)
    for variable, value in states:  # as if nothing had been: of what draws by chance, for example
        variable.assign(value)
    model.reset_metrics()


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


def _last(checkpoints: Path) -> FittingState:
    """The state of the last checkpoint that is whole, its best one too; else the beginning."""
    for folder in sorted(checkpoints.glob("epoch-" + "[0-9]" * 5), reverse=True):
        try:
            state = FittingState(**artifacts.read(folder, CHECKPOINT_SCHEMA).metadata)
            artifacts.read(_folder(checkpoints, state.best), CHECKPOINT_SCHEMA)
        except EdgelineError as error:
            print(f"not resumed: {error}", flush=True)
            continue
        return state
    return FittingState()


def _restore(
    model: keras.Model, features: Sequence[Feature], checkpoints: Path, state: FittingState
) -> None:
    import tensorflow as tf

    if not state.epoch:
        return
    if not model.built:  # its variables are made by its first call
        model({f.name: tf.zeros([1, *f.shape], f.dtype) for f in features})
    model.optimizer.build(model.trainable_variables)
    _load(model, _folder(checkpoints, state.epoch))
    print(f"resumed after epoch {state.epoch}", flush=True)


def _keep(model: keras.Model, state: FittingState, checkpoints: Path) -> None:
    folder = _folder(checkpoints, state.epoch)
    with artifacts.writing(folder, CHECKPOINT_SCHEMA) as draft:
        np.savez(draft.path / VARIABLES, *[value.numpy() for value in _variables(model)])
        draft.metadata |= asdict(state)
    for older in checkpoints.glob("epoch-*"):
        if older not in (folder, _folder(checkpoints, state.best)):
            shutil.rmtree(older)


def _load(model: keras.Model, folder: Path) -> None:
    with np.load(folder / VARIABLES) as arrays:
        for variable, name in zip(_variables(model), arrays.files, strict=True):
            variable.assign(arrays[name])


def _variables(model: keras.Model) -> list[tf.Variable]:
    """All that changes in an epoch; Keras' save_weights leaves out the states of dropout."""
    return [*model.variables, *model.optimizer.variables]


def _folder(checkpoints: Path, epoch: int) -> Path:
    return checkpoints / f"epoch-{epoch:05}"


def _line(state: FittingState, epochs: int) -> str:
    told = {name: values[-1] for name, values in state.history.items() if name != NORM}
    numbers = ", ".join(f"{name} {value:.4f}" for name, value in told.items())
    return f"epoch {state.epoch} of {epochs}: {numbers}"
