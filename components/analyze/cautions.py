"""What a metric does not tell by itself: few rows, a class that is absent or never predicted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from edgeline.artifacts.decision_threshold import USUAL
from edgeline.components.analyze.curves import Curves
from edgeline.components.analyze.decision import ThresholdOutcome

USEFUL = 400  # rows with which a share is known to ±0.05
NORMAL_95 = 1.96
MOST_NAMED = 5


def warnings(
    curves: Curves, classes: Sequence[str], split: str, decision: ThresholdOutcome | None = None
) -> Iterator[str]:
    """Sentences on rows and predictions from which little follows.

    Args:
        curves: of all rows.
        classes: the classes' names; empty for a regression.
        split: the rows' split.
        decision: what decides of a binary task; None: a score above 0.5.
    """
    if curves.effective_rows < USEFUL:
        yield _few(curves, classes, split)
    if not classes:
        return
    counts = decision.confusion if decision else curves.confusion()
    rows, predicted = counts.sum(axis=1), counts.sum(axis=0)
    if curves.task == "binary_classification":
        threshold = decision.threshold if decision else USUAL
        yield from _binary(rows.tolist(), predicted.tolist(), classes, split, threshold)
        return
    if absent := _of(classes, rows == 0):
        yield f"{split} has no row of {_named(absent)}, so nothing is known of how it is predicted"
    if never := _of(classes, (rows > 0) & (predicted == 0)):
        yield f"the model never predicts {_named(never)}, which {split} has"


def _few(curves: Curves, classes: Sequence[str], split: str) -> str:
    said = f"{split} has {curves.rows:,} rows"
    if curves.weighted:
        said += f", which by their weights tell as much as {curves.effective_rows:,.0f}"
    if not classes:
        return f"{said}, so its metrics are known roughly: see their intervals"
    width = (
        NORMAL_95 * 0.5 / math.sqrt(max(curves.effective_rows, 1))
    )  # of a share of one half, the widest
    return f"{said}, so a share such as the accuracy is known to ±{width:.2f} at worst (95 %)"


def _binary(
    rows: Sequence[float],
    predicted: Sequence[float],
    classes: Sequence[str],
    split: str,
    threshold: float,
) -> Iterator[str]:
    for number, name in enumerate(classes):
        if not rows[number]:
            yield f"{split} has no row of class {name}, so AUC, precision and recall say nothing"
        elif not predicted[number]:
            other = classes[1 - number]
            share = rows[1 - number] / sum(rows)
            yield (
                f"the model never predicts class {name} where a score above {threshold:g} is a "
                f"yes: whoever always says {other} has this accuracy, {share:.3f}, too"
            )


def _of(classes: Sequence[str], chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[str]:
    return [name for name, each in zip(classes, chosen, strict=True) if each]


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return (
        f"class {shown}"
        if len(names) == 1
        else f"classes {shown}" + (f" and {more} more" if more > 0 else "")
    )
