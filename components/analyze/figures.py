"""The pictures of an evaluation: curves, scores, predictions by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeline.components.analyze import curves as tables
from edgeline.components.analyze.curves import Curves
from edgeline.reports import report as html
from edgeline.reports.drawn import drawn
from edgeline.reports.report import BLUE, GREY, ORANGE, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plots(curves: Curves, classes: Sequence[str], threshold: float) -> list[Section]:
    """The pictures of an evaluation, by its task.

    Args:
        threshold: above which a score is a yes.
    """
    if curves.task == "binary_classification":
        names = [drawn(name) for name in classes]
        return [Section("Curves", html.figure(_binary_figure(curves, names, threshold)))]
    if curves.task == "regression":
        return [Section("Predictions", html.figure(_regression_figure(curves)))]
    return []


def _binary_figure(curves: Curves, classes: Sequence[str], threshold: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8.4), layout="constrained")
    (roc, precision), (calibration, scores) = figure.subplots(2, 2)
    _draw_roc(roc, curves)
    _draw_precision(precision, curves)
    _draw_calibration(calibration, curves)
    for axes in (roc, precision, calibration):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    _draw_scores(scores, curves, classes, threshold)
    for axes in (roc, precision, calibration, scores):
        _plain(axes)
    return figure


def _draw_roc(axes: Axes, curves: Curves) -> None:
    points = curves.roc(points=tables.BINS)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    if points:
        axes.plot(points[0], points[1], color=BLUE)
    else:
        axes.text(0.5, 0.45, "one class only", ha="center", color=GREY)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")


def _draw_precision(axes: Axes, curves: Curves) -> None:
    """Precision by recall; the dashed line is what a guess has: the share of positives."""
    negatives, positives = curves.table[:2, ::-1].cumsum(axis=1)
    total = positives[-1]
    if total:
        some = negatives + positives > 0
        axes.axhline(total / (total + negatives[-1]), color=GREY, linewidth=0.8, linestyle="--")
        axes.plot(
            positives[some] / total,
            positives[some] / (negatives + positives)[some],
            color=BLUE,
        )
    else:
        axes.text(0.5, 0.45, "no positive row", ha="center", color=GREY)
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall")


def _draw_calibration(axes: Axes, curves: Curves) -> None:
    negatives, positives, scores = curves.table.reshape(3, 10, -1).sum(axis=2)
    total = negatives + positives
    some = total > 0
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    means, shares = scores[some] / total[some], positives[some] / total[some]
    axes.plot(means, shares, color=ORANGE, linewidth=0.8, alpha=0.5)
    sizes = 6 + 150 * np.sqrt(total[some] / total.max())  # a bin of few rows tells little
    axes.scatter(means, shares, s=sizes, color=ORANGE, alpha=0.8)
    axes.set(xlabel="mean score (dots by rows)", ylabel="share of positives", title="Calibration")


def _draw_scores(axes: Axes, curves: Curves, classes: Sequence[str], threshold: float) -> None:
    negatives, positives = curves.table[:2].reshape(2, 50, -1).sum(axis=2)
    middle = (np.arange(50) + 0.5) / 50
    for counts, name, colour in zip((negatives, positives), classes, (BLUE, ORANGE), strict=True):
        axes.bar(middle, counts, width=0.02, color=colour, alpha=0.55, label=f"label {name}")
    axes.axvline(threshold, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(xlabel="score", ylabel=_counted(curves), title="Scores")
    axes.legend(frameon=False)


def _regression_figure(curves: Curves) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5))
    axes = figure.subplots()
    used = np.flatnonzero(curves.table.sum(axis=0) + curves.table.sum(axis=1))
    first, last = max(used.min() - 1, 0), min(used.max() + 2, tables.CELLS)
    borders = tables.values_of_cells()[first : last + 1]
    counts = curves.table[first:last, first:last]
    mesh = axes.pcolormesh(borders, borders, np.where(counts, counts, np.nan).T, cmap="Blues")
    axes.axline((borders[0], borders[0]), (borders[-1], borders[-1]), color=GREY, linestyle="--")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel="label", ylabel="prediction", title="Rows by label and prediction")
    figure.colorbar(mesh, label=_counted(curves))
    return figure


def _counted(curves: Curves) -> str:
    return "weight of rows" if curves.weighted else "rows"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e2e8f0", linewidth=0.6)
    axes.set_axisbelow(True)
