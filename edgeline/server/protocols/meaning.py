"""What a model's outputs mean to TensorFlow Serving's calls: classes with scores, or one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeline.formats.dtypes import Array
from edgeline.server.errors import invalid
from edgeline.server.models.model import Arrays, Description
from edgeline.server.tensors.json import decode


def classes(answers: Arrays, description: Description) -> tuple[list[list[Any]], Array]:
    """Names and scores of the classes, [rows, classes] each.

    Raises:
        ServingError: the model gives no scores.
    """
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
