"""Which rows stand for many: one choice, wherever a step takes, tries or draws a few of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def spread(rows: int, most: int) -> npt.NDArray[np.int64]:
    """Rows that lie evenly over `rows`, in order, each once; int64 [min(rows, most)].

    The first and the last are among them (of one alone, the first), because the ends of sorted
    data, its oldest and newest rows, have values that the middle lacks. Needs only numpy.
    """
    count = max(0, min(rows, most))
    return np.arange(count, dtype=np.int64) * (rows - 1) // max(count - 1, 1)
