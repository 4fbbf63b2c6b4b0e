"""Functions of single texts on arrays of them, and what refuses one of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeline.formats.dtypes import Array

Attributes = dict[str, Any]
HostFunction = Callable[..., Any]  # arrays to an array, or to a tuple of them


class UnfitError(ValueError):
    """Attributes of an operator whose meaning here is not proven to be TensorFlow's."""


class RefusedElementError(ValueError):
    """TensorFlow raises on one element.

    Attributes:
        place: of it, in row-major order.
        value: that it is.
    """

    def __init__(self, place: int, value: object, why: str) -> None:
        super().__init__(why)
        self.place, self.value = place, value


def each(function: Callable[..., object], dtype: Any, *arrays: Array) -> Array:
    """A function of one element of each array, applied to all; arrays are broadcast.

    Raises:
        RefusedElementError: the function raises a ValueError on one.
    """
    alike = all(array.shape == arrays[0].shape for array in arrays[1:])
    given = arrays if alike else np.broadcast_arrays(*arrays)
    flat = [array.reshape(-1).tolist() for array in given]
    found = np.empty(given[0].size, dtype)
    for place, values in enumerate(zip(*flat, strict=True)):
        try:
            found[place] = function(*values)
        except ValueError as error:
            raise RefusedElementError(place, values[0], str(error)) from error
    return found.reshape(given[0].shape)


def only(attributes: Attributes, name: str, *allowed: object) -> Any:
    """The value of an attribute, one of those allowed.

    Raises:
        UnfitError: it is another.
    """
    if (value := attributes.get(name, allowed[0])) not in allowed:
        raise UnfitError(f"its {name} is {value!r}")
    return value
