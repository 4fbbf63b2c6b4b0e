"""Between which values a metric lies, which the interval of its mean does not know.

TFMA's intervals are Student's: symmetric about the value, so that of an AUC of 0.99 among few rows
ends above 1. What is written and shown is the part that a metric can have.
"""

from __future__ import annotations

import math

from edgeline.components.analyze import fairness

GOOD = ("accuracy", "auc", "precision", "recall", "specificity", "sensitivity")
SHARES = (*GOOD, "fall_out")
SHARE_WORDS = ("rate", "prevalence", "miss_rate")  # at the end of a name
ERRORS = (
    "crossentropy",
    "squared_error",
    "absolute_error",
    "percentage_error",
    "logarithmic_error",
)
COUNTS = ("example_count", "weighted_example_count")


def scale(metric: str) -> tuple[float, float]:
    """The least and the greatest value that a metric can have, by its name here; infinite where
    that is not known.

    Args:
        metric: perhaps with what it is of: `recall[top_k=3]`.
    """
    name = _plain(metric)
    if name.startswith("auc") or name.endswith((*SHARES, *SHARE_WORDS)) or name == "f1_score":
        return 0.0, 1.0
    if name.endswith(ERRORS) or name in COUNTS:
        return 0.0, math.inf
    return -math.inf, math.inf


def higher_is_better(metric: str) -> bool | None:
    """Which way a metric is better, by its name here; None where that is not known."""
    name = _plain(metric)
    if name.startswith("auc") or name.endswith(GOOD) or name == "f1_score":
        return True
    return False if name.endswith(ERRORS) else None


def clipped(metric: str, bound: float | None) -> float | None:
    """An end of a metric's interval, within its scale."""
    low, high = scale(metric)
    return None if bound is None else min(max(bound, low), high)


def _plain(metric: str) -> str:
    """Its name without what it is of."""
    return metric.partition("[")[0].removeprefix(fairness.PREFIX + "/").partition("@")[0]
