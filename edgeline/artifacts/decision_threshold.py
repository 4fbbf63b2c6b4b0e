"""When a binary model says yes: where its score lies above the decision threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    from edgeline.formats.dtypes import Array

USUAL = 0.5  # where nobody chose one


def says_yes(scores: Array, threshold: float | None) -> Array:
    """Which scores are a yes, in their own shape: bool. One that equals the threshold is a no.

    As Keras' and TFMA's binary metrics count (keras.metrics.BinaryAccuracy).

    Args:
        threshold: None: the usual one.
    """
    import numpy as np  # what only reads a bundle's description needs none

    return np.asarray(scores > (USUAL if threshold is None else threshold))


def is_threshold(value: float) -> bool:
    """Whether scores of 0 to 1 lie on both of its sides."""
    return 0 < value < 1


def checked(threshold: float) -> float:
    """The threshold that a component is given.

    Raises:
        EdgelineError: it is not within 0 and 1.
    """
    if not is_threshold(threshold):
        raise EdgelineError(f"decision_threshold is {threshold}: give one within 0 and 1.")
    return threshold
