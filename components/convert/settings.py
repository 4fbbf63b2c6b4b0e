"""How a model is converted."""

from __future__ import annotations

from dataclasses import dataclass

from edgeline.artifacts.decision_threshold import USUAL
from edgeline.components.convert import recipes
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import (
    DYNAMIC,
    FLOATS,
    INT8,
    NAMES,
    RECIPE_FILE,
    RECIPES,
    TABLE,
    Quantisation,
    of,
)

IO = INT8.io  # which has them all


@dataclass(frozen=True)
class Limit:
    """The accuracy that `auto` must keep, on every row of a labelled split.

    Attributes:
        examples: an `examples/v1` folder.
        max_drop: of any metric of the task, see `edgeline.runtimes.metrics.drop`.
        threshold: the decision threshold of a binary task.
    """

    examples: str
    split: str
    task: str
    max_drop: float
    threshold: float = USUAL


@dataclass(frozen=True)
class Settings:
    """How to convert.

    Attributes:
        quantisation: its row, or its name; RECIPE_FILE where `recipe` is a user's own.
        io: dtype of inputs and outputs of an int8 model, one of `IO`. Inputs keep theirs where a
            transform is in the model.
        batch: rows the model takes at once; 0 for any number.
        per_channel: whether weights have a scale a channel, or one a tensor (`int8`, `dynamic`).
        recipe: rules of ai-edge-quantizer (see `recipes`); empty where TensorFlow quantises.
        limit: what `auto` must keep to.
        decision_threshold: kept with the edge model of a binary task.
    """

    quantisation: Quantisation = DYNAMIC
    io: str = "float"
    batch: int = 0
    per_channel: bool = True
    recipe: recipes.Recipe = ()
    limit: Limit | None = None
    decision_threshold: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.quantisation, str):
            object.__setattr__(self, "quantisation", of(self.quantisation))

    @property
    def integer(self) -> bool:
        """Whether activations are integers, whose ranges representative rows must show."""
        if self.recipe:
            configs = [rule.get("op_config", {}) for rule in self.recipe]
            return any("activation_tensor_config" in config for config in configs)
        return bool(self.quantisation.needs)


def checked_settings(quantisation: str, io: str, batch: int, per_channel: bool) -> Settings:
    """Parameters as a user gives them.

    Raises:
        EdgelineError: one is unknown, does not go with another, or a recipe's file is none.
    """
    file = recipes.is_file(quantisation)
    if not file and quantisation not in NAMES:
        raise EdgelineError(
            f"quantisation is {quantisation!r}, but must be one of {', '.join(NAMES)}, or "
            "a recipe's path or URI, which ends in .json."
        )
    if io not in IO:
        raise EdgelineError(f"io is {io!r}, but must be one of {', '.join(IO)}.")
    recipe: recipes.Recipe = recipes.read(quantisation) if file else ()
    row = RECIPE_FILE if file else of(quantisation)
    if row in RECIPES:
        recipe = recipes.named(row.recipe)
    settings = Settings(row, io, batch, per_channel, recipe)
    if io not in row.io and row.io == FLOATS:
        raise EdgelineError(
            f"io is {io!r}, but a model of quantisation {quantisation!r} takes and gives floating "
            "numbers: set quantisation to int8, or io to float."
        )
    if io not in row.io:
        raise EdgelineError(
            f"io is {io!r}, which ai-edge-quantizer lacks: set quantisation ({quantisation}) "
            "to int8, or io to int8."
        )
    if not per_channel and not row.per_tensor:
        having = ", ".join(each.name for each in TABLE if each.per_tensor)
        raise EdgelineError(
            f"per_channel is off, but only {having} have such a switch, not {quantisation!r}: in "
            "a recipe set the granularity to TENSORWISE."
        )
    if batch < 0:
        raise EdgelineError(f"batch is {batch}, but must be 0 (any number of rows) or more.")
    return settings
