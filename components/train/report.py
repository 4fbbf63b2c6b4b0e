"""The report of `train`: curves by epoch, the network, what it was given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from edgeline.components.train import network_graph
from edgeline.components.train.class_weights import ClassWeights
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.network_graph import tensors_of
from edgeline.components.train.saving import FittingState
from edgeline.reports import report
from edgeline.reports.drawn import drawn

if TYPE_CHECKING:
    import keras

MANY_TIMES = 30  # from where on a curve of norms is drawn by its orders of magnitude


def write_report(
    path: str | Path,
    network: keras.Model,
    state: FittingState,
    metadata: Mapping[str, Any],
    how: Fitting,
    weights: ClassWeights | None = None,
    seconds: float | None = None,
) -> None:
    """Write the HTML report of a finished training.

    Args:
        seconds: that a step took, the median; None where that is not known.
    """
    optimisation = vars(how.optimisation) if how.optimisation.kind else {}
    kept = "As Keras estimates them in each epoch; the numbers above are of the model that is kept"
    kept += f", of epoch {state.best} with the smallest val_loss." if how.patience else "."
    report.write(
        path,
        "Train",
        [
            report.Fact("epochs", str(state.epoch)),
            report.Fact("steps", report.number(how.steps)),
            *([report.Fact("time per step, median", _duration(seconds))] if seconds else []),
            report.Fact("parameters", report.number(metadata["parameters"])),
            *(
                report.Fact(name, report.number(value))
                for name, value in metadata["metrics"].items()
                if name.startswith("val_")
            ),
        ],
        [
            *_warned(metadata.get("warnings", ())),
            *_noted(metadata.get("notes", ())),
            *_weighted(weights),
            report.Section("Curves by epoch", _curves(state), kept),
            *_by_step(state),
            report.Section(
                "Given",
                report.table(
                    ["parameter", "value"],
                    [
                        *((n, str(v)) for n, v in vars(how).items() if n != "optimisation"),
                        *((n, str(v)) for n, v in optimisation.items()),
                        *((n, str(v)) for n, v in metadata["hyperparameters"].items()),
                    ],
                ),
            ),
            report.Section(
                "Raw features of serving_default",
                report.table(
                    ["feature", "dtype", "shape"],
                    [(f["name"], f["dtype"], str(f["shape"])) for f in metadata["features"]],
                ),
            ),
            report.Section("Network", _layers(network) + network_graph.drawn(network)),
        ],
    )


def _warned(warnings: Sequence[str]) -> list[report.Section]:
    rows = [(warning,) for warning in warnings]
    return [report.Section("Beware", report.table(["of the data"], rows))] if rows else []


def _noted(notes: Sequence[str]) -> list[report.Section]:
    lines = [report.text(f"{note[:1].upper()}{note[1:]}.") for note in notes]
    more = "Loss, val_loss and the metrics that every step has are weighted; the curves of other "
    more += "metrics are as Keras has them. A loss is of weights that are 1 on average."
    return [report.Section("Weights of rows", Markup("\n").join(lines), more)] if lines else []


def _weighted(weights: ClassWeights | None) -> list[report.Section]:
    if weights is None:
        return []
    values = map(float, weights.values)
    rows = zip(weights.names, weights.rows, values, strict=True)
    note = (
        "How much a row of a class counts in the loss of the training; val_loss, by which an epoch "
        "is kept where patience is set, and all metrics do without it."
    )
    return [report.Section("Class weights", report.table(["class", "rows", "weight"], rows), note)]


def _by_step(state: FittingState) -> list[report.Section]:
    """The loss and the gradients' norm within epochs, and the learning rate where it changes."""
    if len(state.by_step) < 2:
        return []
    steps, losses, rates, norms = zip(*state.by_step, strict=True)
    curves = [("loss", losses, report.BLUE)]
    if any(map(math.isfinite, norms)):
        curves.append(("gradient norm", norms, report.GREEN))
    changes = max(rates) > min(rates)
    drawing, panels = report.panels(len(curves) + changes, 3)
    for axes, (name, values, colour) in zip(panels, curves, strict=False):
        axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.45)
        axes.plot(steps, _smooth(values), color=colour, label="smoothed")
        axes.set_title(name)
        axes.legend(frameon=False)
        known = list(filter(math.isfinite, values))
        if name != "loss" and 0 < MANY_TIMES * min(known) < max(known):
            axes.set_yscale("log")
    if changes:
        panels[-1].plot(steps, rates, color=report.ORANGE)
        panels[-1].set_title("learning rate")
    for axes in panels:
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    note = "Of the training, each point the mean of the steps since the one before."
    if len(curves) > 1:
        note += (
            " The gradient norm is the Euclidean one of all weights' gradients together, before "
            "the optimizer clips them."
        )
    if not changes and math.isfinite(rates[0]):
        note += f" The learning rate is {report.number(rates[0])} throughout."
    return [report.Section("Curves by step", report.figure(drawing), note)]


def _smooth(values: Sequence[float]) -> list[float]:
    """The mean of a tenth of the values around each, of fewer at the ends."""
    reach = len(values) // 20
    around = (values[max(at - reach, 0) : at + reach + 1] for at in range(len(values)))
    return [sum(some) / len(some) for some in around]


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _layers(network: keras.Model) -> Markup:
    """The layers as a table. (What Keras' `summary` prints is cut at the terminal's width.)"""
    made_by = {
        id(tensor): layer.name for layer in network.layers for tensor in tensors_of(layer, "output")
    }
    rows = [
        (
            layer.name,
            type(layer).__name__,
            ", ".join(str(tuple(tensor.shape)) for tensor in tensors_of(layer, "output")),
            layer.count_params() if layer.built else None,
            ", ".join(dict.fromkeys(made_by.get(id(t), "") for t in tensors_of(layer, "input"))),
        )
        for layer in network.layers
    ]
    return report.table(["layer", "type", "output shape", "parameters", "connected to"], rows)


def _curves(state: FittingState) -> Markup:
    names = [
        name
        for name, values in state.history.items()
        if not name.startswith("val_") and any(map(math.isfinite, values))
    ]
    drawing, panels = report.panels(len(names), 3)
    epochs = range(1, state.epoch + 1)
    for axes, name in zip(panels, names, strict=True):
        axes.plot(epochs, state.history[name], "o-", color=report.BLUE, label="train", markersize=4)
        if validation := state.history.get(f"val_{name}"):
            axes.plot(epochs, validation, "o-", color=report.ORANGE, label="eval", markersize=4)
        axes.set_title(drawn(name))
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.locator_params(axis="x", integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return report.figure(drawing)
