"""The pictures of an evaluation: curves, scores, the confusion matrix, predictions by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline.artifacts.decision_threshold import USUAL
from edgeline.components.analyze import curves as tables
from edgeline.components.analyze.curves import Curves
from edgeline.components.analyze.decision import ThresholdOutcome
from edgeline.reports import report as html
from edgeline.reports.drawn import drawn
from edgeline.reports.report import BLUE, GREY, ORANGE, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES_DRAWN = 30


def plots(curves: Curves, classes: Sequence[str], chosen: ThresholdOutcome | None) -> list[Section]:
    """The pictures of an evaluation, by its task."""
    classes = [drawn(name) for name in classes]
    if curves.task == "binary_classification":
        return [
            Section("Curves", html.figure(_binary_figure(curves))),
            Section(
                "Confusion matrix and scores", html.figure(_scores_figure(curves, classes, chosen))
            ),
        ]
    if curves.task == "multiclass_classification":
        return [Section("Confusion matrix", html.figure(_matrix_figure(curves, classes)))]
    return [Section("Predictions", html.figure(_regression_figure(curves)))]


def _binary_figure(curves: Curves) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4))
    left, right = figure.subplots(1, 2)
    roc = curves.roc(points=tables.BINS)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    if roc:
        left.plot(roc[0], roc[1], color=BLUE)
    else:
        left.text(0.5, 0.45, "one class only", ha="center", color=GREY)
    left.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    negatives, positives, scores = curves.table.reshape(3, 10, -1).sum(axis=2)
    total = negatives + positives
    some = total > 0
    right.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    right.plot(scores[some] / total[some], positives[some] / total[some], color=ORANGE, marker="o")
    right.set(xlabel="mean score", ylabel="share of positives", title="Calibration")
    for axes in (left, right):
        _plain(axes)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure


def _scores_figure(
    curves: Curves, classes: Sequence[str], chosen: ThresholdOutcome | None
) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
    threshold = chosen.threshold if chosen else USUAL
    counts = chosen.confusion if chosen else curves.confusion()
    counts = counts if curves.weighted else counts.astype(int)
    _draw_matrix(left, counts, classes, f"at threshold {html.number(threshold)}")
    negatives, positives = curves.table[:2].reshape(2, 50, -1).sum(axis=2)
    middle = (np.arange(50) + 0.5) / 50
    for counts, name, colour in zip((negatives, positives), classes, (BLUE, ORANGE), strict=True):
        right.bar(middle, counts, width=0.02, color=colour, alpha=0.55, label=f"label {name}")
    right.axvline(threshold, color=GREY, linewidth=0.8, linestyle="--")
    right.set(xlabel="score", ylabel=_counted(curves), title="Scores")
    right.legend(frameon=False)
    _plain(right)
    figure.tight_layout()
    return figure


def _matrix_figure(curves: Curves, classes: Sequence[str]) -> Figure:
    from matplotlib.figure import Figure

    size = min(4 + 0.3 * len(classes), 12)
    figure = Figure(figsize=(size, size))
    _draw_matrix(figure.subplots(), curves.confusion(), classes, "top class")
    return figure


def _draw_matrix(axes: Axes, counts: Any, classes: Sequence[str], title: str) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="label", title=title)
    if len(classes) > MOST_CLASSES_DRAWN:
        return
    axes.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 5 else 0)
    axes.set_yticks(range(len(classes)), classes)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        shown = f"{count:,}" if counts.dtype.kind == "i" else f"{count:,.4g}"
        axes.text(column, row, shown, ha="center", va="center", color=colour)


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
