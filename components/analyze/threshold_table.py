"""What comes of every threshold of a binary task, as a table that a slider walks through."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from edgeline.components.analyze.curves import BINS, Curves
from edgeline.formats.dtypes import Array
from edgeline.reports import report
from edgeline.reports.report import Section

HEAD = (
    "threshold", "precision", "recall", "F1", "false positive rate", "share of yes",
    "yes, and right", "yes, but wrong", "missed", "no, and right",
)  # fmt: skip
NOTE = "A score above the threshold is a yes. By hundredths; the thresholds above are exact."


def section(curves: Curves, used: float) -> Section:
    """A row for each hundredth of the score.

    Args:
        used: the threshold that is in use, at which the slider begins.
    """
    rows = [_row(place / BINS, each) for place, each in enumerate(_counts(curves))]
    table = report.table(HEAD, rows)
    return Section(
        "Choose a threshold",
        Markup(
            '<div data-slider="{}"><details><summary>All thresholds</summary>{}</details></div>'
        ).format(round(used * BINS), table),
        NOTE,
    )


def _counts(curves: Curves) -> Array:
    """True and false positives, false and true negatives above each hundredth, [BINS, 4]."""
    negatives, positives = curves.table[:2]
    false_positives = negatives[::-1].cumsum()[::-1]
    true_positives = positives[::-1].cumsum()[::-1]
    return np.stack(
        [
            true_positives,
            false_positives,
            positives.sum() - true_positives,
            negatives.sum() - false_positives,
        ],
        axis=1,
    )


def _row(threshold: float, counts: Array) -> list[object]:
    right, wrong, missed, rejected = map(float, counts)
    total = right + wrong + missed + rejected
    shares = [
        _share(right, right + wrong),
        _share(right, right + missed),
        _share(2 * right, 2 * right + wrong + missed),
        _share(wrong, wrong + rejected),
        _share(right + wrong, total),
    ]
    plain = [int(each) if each.is_integer() else each for each in map(float, counts)]
    return [f"{threshold:.2f}", *shares, *plain]


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.3f}" if whole else "–"
