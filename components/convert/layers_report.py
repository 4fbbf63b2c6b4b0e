"""The layers of a quantised model in the report: which of them hurts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeline.components.convert.layer_errors import Layer, short
from edgeline.reports import report
from edgeline.reports.drawn import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 15


def sections(layers: Sequence[Layer]) -> list[report.Section]:
    """What each layer loses, as a plot of the worst and a table of all; none where none is."""
    if not layers:
        return []
    rows = [
        [
            short(layer.name),
            layer.operator,
            "yes" if layer.quantised else "no",
            report.size(layer.weights),
            layer.effect,
            layer.own,
            layer.error,
            None if layer.decibels is None else f"{layer.decibels:.1f} dB",
        ]
        for layer in layers
    ]
    head = [
        "layer",
        "operator",
        "quantised",
        "weights",
        "effect",
        "own error",
        "error",
        "signal to noise",
    ]
    note = (
        "The error is the normalised mean squared error of a layer's output beside the float "
        "network's, on representative rows; its own is what it adds to that of its inputs. The "
        "effect is the error of the model's output with this layer alone quantised (by recipes). "
        "The whole names are in layers.json."
    )
    return [
        report.Section("Layers that lose most", report.figure(_worst(layers[:DRAWN])), note),
        report.Section("Every layer", report.table(head, rows)),
    ]


def _worst(layers: Sequence[Layer]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.5 + 0.28 * len(layers)))
    axes = figure.subplots()
    names = [drawn(f"{short(layer.name)} ({layer.operator})") for layer in layers]
    places = range(len(layers))
    if layers[0].effect is not None:
        axes.barh(places, [layer.effect or 0.0 for layer in layers], color=report.RED)
        axes.set_xlabel("error of the output with this layer alone quantised")
    else:
        axes.barh(places, [layer.error for layer in layers], color=report.GREY, label="error")
        axes.barh(places, [layer.own for layer in layers], color=report.RED, label="own error")
        axes.set_xlabel("normalised mean squared error")
        axes.legend(frameon=False, loc="lower right")
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure
