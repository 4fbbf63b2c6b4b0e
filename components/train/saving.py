"""How far a training has come, as folders that outlive a kill: one an epoch, the best one too."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeline import artifacts
from edgeline.artifacts.features import Feature
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

CHECKPOINT_SCHEMA = "checkpoint/v1"
VARIABLES = "variables.npz"


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


def last(checkpoints: Path) -> FittingState:
    """The state of the last checkpoint that is whole, its best one too; else the beginning."""
    for folder in sorted(checkpoints.glob("epoch-" + "[0-9]" * 5), reverse=True):
        try:
            state = FittingState(**artifacts.read(folder, CHECKPOINT_SCHEMA).metadata)
            artifacts.read(of_epoch(checkpoints, state.best), CHECKPOINT_SCHEMA)
        except EdgelineError as error:
            print(f"not resumed: {error}", flush=True)
            continue
        return state
    return FittingState()


def restore(
    model: keras.Model, features: Sequence[Feature], checkpoints: Path, state: FittingState
) -> None:
    """Give a model, not yet trained, the variables of a state's epoch."""
    import tensorflow as tf

    if not state.epoch:
        return
    if not model.built:  # its variables are made by its first call
        model({f.name: tf.zeros([1, *f.shape], f.dtype) for f in features})
    if not getattr(model.optimizer, "built", False):
        model.optimizer.build(model.trainable_variables)
    load(model, of_epoch(checkpoints, state.epoch))
    print(f"resumed after epoch {state.epoch}", flush=True)


def keep(model: keras.Model, state: FittingState, checkpoints: Path) -> None:
    """Write the checkpoint of a state's epoch, and remove those that nothing needs any more."""
    folder = of_epoch(checkpoints, state.epoch)
    with artifacts.writing(folder, CHECKPOINT_SCHEMA) as draft:
        np.savez(draft.path / VARIABLES, *[value.numpy() for value in _variables(model)])
        draft.metadata |= asdict(state)
    for older in checkpoints.glob("epoch-*"):
        if older not in (folder, of_epoch(checkpoints, state.best)):
            shutil.rmtree(older)


def load(model: keras.Model, folder: Path) -> None:
    """Give a model that is built the variables of a checkpoint."""
    with np.load(folder / VARIABLES) as arrays:
        for variable, name in zip(_variables(model), arrays.files, strict=True):
            variable.assign(arrays[name])


def of_epoch(checkpoints: Path, epoch: int) -> Path:
    """The folder of an epoch's checkpoint."""
    return checkpoints / f"epoch-{epoch:05}"


def _variables(model: keras.Model) -> list[tf.Variable]:
    """All that changes in an epoch; Keras' save_weights leaves out the states of dropout."""
    return [*model.variables, *model.optimizer.variables]
