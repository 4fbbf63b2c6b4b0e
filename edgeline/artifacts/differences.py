"""How far the answers of two models of one lie apart, said once for every step.

| name       | of         | what                                                     |
|------------|------------|----------------------------------------------------------|
| difference | each value | |answer - expected| / max(1, |expected|)                 |
| max, mean  | an output  | the largest and the mean of these                        |
| of_range   | an output  | largest |answer - expected| / max(1, largest |expected|) |

Reports, limits and test vectors speak of the difference; `of_range` tells a converter or compiler
that changed the function from one that rounds. A difference is absolute for probabilities and
relative for large values. `of_range` is lenient with small values beside large ones: a value that
comes of large ones that cancel is rounded as they are. Equal NaNs and infinities differ by 0, a
value that is not finite and any other by infinity; strings by 0 or infinity. Real values are
compared: those of a quantised tensor are dequantised first. Needs only numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeline.formats.dtypes import Array


@dataclass(frozen=True)
class Gap:
    """How far one output of two models lies apart on some rows (see above).

    `max` and `of_range` are infinite where one is finite and the other is not; `mean` is over the
    values whose difference is finite.
    """

    max: float
    mean: float
    of_range: float


def difference(answer: Array, expected: Array) -> npt.NDArray[np.float64]:
    """Of each value, float64 in the common shape of both."""
    return _compared(answer, expected)[0]


def gap(answer: Array, expected: Array) -> Gap:
    """Of one output, [rows, ...] each and of one shape; 0 where it has no values."""
    each, apart = _compared(answer, expected)
    finite = each[np.isfinite(each)]
    largest = 0.0
    if expected.dtype != object:
        wanted = expected.astype(np.float64)
        largest = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0))
    return Gap(
        float(each.max(initial=0.0)),
        float(finite.sum()) / max(finite.size, 1),
        float(apart.max(initial=0.0)) / max(1.0, largest),
    )


def gaps(answers: Mapping[str, Array], expected: Mapping[str, Array]) -> dict[str, Gap]:
    """Of each expected output; `answers` has all of them."""
    return {name: gap(answers[name], wanted) for name, wanted in expected.items()}


def _compared(answer: Array, expected: Array) -> tuple[Array, Array]:
    """The difference of each value, and |answer - expected|."""
    if answer.dtype == object or expected.dtype == object:
        unequal = np.where(answer == expected, 0.0, np.inf)
        return unequal, unequal
    given, wanted = answer.astype(np.float64), expected.astype(np.float64)
    same = (given == wanted) | (np.isnan(given) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        apart = np.abs(given - wanted)
        apart = np.where(same, 0.0, np.where(np.isfinite(apart), apart, np.inf))
        scale = np.where(same, 1.0, np.maximum(1.0, np.abs(wanted)))
        each = apart / scale
    return np.where(np.isfinite(each), each, np.inf), apart
