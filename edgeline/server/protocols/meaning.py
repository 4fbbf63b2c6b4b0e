"""What a model's outputs mean to its callers: classes with scores, a decision, or one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeline.artifacts.decision_threshold import says_yes
from edgeline.formats.dtypes import Array
from edgeline.server.errors import invalid
from edgeline.server.models.model import Arrays, Description, decided_output
from edgeline.server.tensors.json import decode


@dataclass(frozen=True)
class BinaryDecisions:
    """What a binary model decides by the threshold of its bundle.

    threshold: above which score it says yes; yes: bool [rows]; scores: of no and yes, [rows, 2];
    labels: their names.
    """

    threshold: float
    yes: Array
    scores: Array
    labels: tuple[str, str]

    @property
    def order(self) -> Array:
        """The classes of each row, the decided one first: int64 [rows, 2]."""
        decided = self.yes.astype(np.int64)
        return np.stack([decided, 1 - decided], axis=1)


def decisions(array: Array, name: str, description: Description) -> BinaryDecisions | None:
    """What is decided by an output; None unless its bundle has a decision threshold for it."""
    threshold = description.threshold_of(name)
    if threshold is None or array.dtype.kind not in "iuf":
        return None
    if not array.ndim or array.size != len(array):
        return None
    score = _real(array.reshape(-1), name, description)
    labels = description.labels
    named = (labels[0], labels[1]) if labels is not None and len(labels) == 2 else ("0", "1")
    return BinaryDecisions(
        threshold, says_yes(score, threshold), np.stack([1 - score, score], axis=1), named
    )


def classes(answers: Arrays, description: Description) -> tuple[list[list[Any]], Array]:
    """Names and scores of the classes, [rows, classes] each.

    Of a binary model with one score a row and a decision threshold that is the decided class alone.

    Raises:
        ServingError: the model gives no scores.
    """
    output = decided_output(description.signature.outputs)
    if output and (decided := decisions(answers[output], output, description)):
        order = decided.order[:, :1]
        decided_labels = [[decided.labels[place]] for place in order[:, 0].tolist()]
        return decided_labels, np.take_along_axis(decided.scores, order, axis=1)
    name = _only(answers, description, ("scores", "probabilities", "probability"))
    scores = _real(answers[name], name, description)
    if scores.ndim != 2:
        raise invalid(f"Output {name!r} has no score for each class: call predict.")
    named = answers.get("classes")
    labels = description.labels
    width = scores.shape[1]
    if named is not None and named.shape == scores.shape:
        return [[decode(label) for label in row] for row in named.tolist()], scores
    if labels is not None and len(labels) == width:
        return [list(labels)] * len(scores), scores
    return [[str(place) for place in range(width)]] * len(scores), scores


def numbers(answers: Arrays, description: Description) -> Array:
    """One number a row, [rows].

    Raises:
        ServingError: the model gives more than one.
    """
    name = _only(answers, description, ("outputs", "prediction", "predictions"))
    values = _real(answers[name], name, description)
    if values.size != len(values):
        raise invalid(f"Output {name!r} is not one number an example: call predict.")
    return values.reshape(-1)


def _only(answers: Arrays, description: Description, known: tuple[str, ...]) -> str:
    numeric = [name for name, array in answers.items() if array.dtype.kind in "iuf"]
    if named := [name for name in known if name in numeric]:
        return named[0]
    if len(numeric) != 1:
        raise invalid(f"Model {description.name!r} has several outputs: call predict.")
    return numeric[0]


def _real(array: Array, name: str, description: Description) -> Array:
    """Real values of a quantised output."""
    tensor = next(t for t in description.signature.outputs if t.name == name)
    if tensor.scale is None:
        return array
    shifted = array.astype(np.float32) - np.float32(tensor.zero_point or 0)
    return np.asarray(np.float32(tensor.scale) * shifted, np.float32)
