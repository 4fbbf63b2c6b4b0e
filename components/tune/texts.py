"""The values of a search space as texts, for a search that another system runs.

Katib and Trainer's OptimizationJob hand a trial texts, which they put into its variables as they
are. So a choice is called by its JSON without quotation marks, `relu` or `[64, 32]`; where that
would not do for one of them, all choices of that hyperparameter are called 0, 1, 2, … in their
order. A range with a step is a list of its values: Katib's own steps do not begin at the low end.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from edgeline.components.tune.space import Dimension
from edgeline.errors import EdgelineError

MOST, LONGEST = 100, 64  # choices and their characters, as an OptimizationJob takes them
_PLAIN = re.compile(r"[\w.+,:\[\] -]+", re.ASCII)  # what no system takes for anything else
_ROUNDING = 1e-9  # as a share: an end of a range that went through logarithms


def choices(dimension: Dimension, place: str) -> tuple[str, ...]:
    """What the choices of a hyperparameter, or the values of a range with steps, are called.

    Args:
        place: how to call the hyperparameter in a refusal.

    Returns:
        in their order; nothing of a range without steps.

    Raises:
        EdgelineError: there are more than MOST.
    """
    values = _values(dimension)
    if len(values) > MOST:
        raise EdgelineError(
            f"{place} has {len(values)} values, more than {MOST}: give fewer choices, or a range "
            "without a step."
        )
    texts = [json.dumps(each, sort_keys=True).replace('"', "") for each in values]
    are_plain = all(_PLAIN.fullmatch(each) and len(each) <= LONGEST for each in texts)
    if are_plain and len(set(texts)) == len(texts):
        return tuple(texts)
    return tuple(map(str, range(len(values))))


def ends(dimension: Dimension) -> dict[str, str]:
    """The two ends of a range, `min` and `max`."""
    pair = {"min": dimension.low, "max": dimension.high}
    return {name: repr(int(x) if dimension.integer else x) for name, x in pair.items()}


def value(dimension: Dimension, text: str) -> Any:
    """The value that a text stands for.

    Raises:
        EdgelineError: it stands for none of the hyperparameter's.
    """
    if texts := choices(dimension, dimension.name):
        if text not in texts:
            raise EdgelineError(f"{dimension.name} is {text!r}: give one of {', '.join(texts)}.")
        return _values(dimension)[texts.index(text)]
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    nearest = min(max(number, dimension.low), dimension.high)
    is_inside = math.isclose(number, nearest, rel_tol=_ROUNDING)
    if not is_inside or (dimension.integer and number != int(number)):
        raise EdgelineError(
            f"{dimension.name} is {text!r}, but may be {dimension.words}: correct it."
        )
    return int(number) if dimension.integer else nearest


def _values(dimension: Dimension) -> tuple[Any, ...]:
    """Choices, or the values of a range with steps as Optuna has them, from the low end."""
    if dimension.choices or not dimension.step:
        return dimension.choices
    count = math.floor((dimension.high - dimension.low) / dimension.step + _ROUNDING)
    if count >= MOST:
        return (None,) * (count + 1)  # only how many is told
    found = [dimension.low + index * dimension.step for index in range(count + 1)]
    if dimension.integer:
        return tuple(map(int, found))
    return tuple(float(f"{each:.12g}") for each in found)
