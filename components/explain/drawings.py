"""The figures of an explanation: distributions, curves, and pictures with heat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from edgeline.components.explain.dependence import Dependence
from edgeline.components.explain.heat_maps import HeatMaps
from edgeline.formats.dtypes import Array
from edgeline.reports import pictures, report
from edgeline.reports.drawn import drawn
from edgeline.reports.report import Section

SIDE = 96  # pixels of a shown picture
LETTERS = 14  # of a value under a curve
RED, BLUE = np.array([220.0, 38.0, 38.0]), np.array([37.0, 99.0, 235.0])

Floats = npt.NDArray[np.float64]


def histogram(correlations: Floats, least: float) -> Markup:
    """How many rows have which rank correlation, with the limit where there is one."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5.2, 2.2))  # whose words can be read on a phone, too
    axes = drawing.add_subplot()
    low = min(-0.025, float(correlations.min()) - 0.025) if correlations.min() < 0 else 0.0
    axes.hist(correlations, bins=np.linspace(max(low, -1.0), 1.0, 41).tolist(), color=report.BLUE)
    if least > -1:
        axes.axvline(least, color=report.RED, linewidth=1.5, linestyle="--")
    axes.set(xlabel="rank correlation of a row", ylabel="rows")
    axes.locator_params(axis="y", integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    return report.figure(drawing)


def dependences(found: Sequence[Dependence]) -> Markup:
    """A curve or bars a feature, on one axis of scores."""
    from matplotlib.figure import Figure

    low = min(min(*each.cloud, *each.edge) for each in found)
    high = max(max(*each.cloud, *each.edge) for each in found)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    parts = []
    for each in found:
        drawing = Figure(figsize=(3.6, 2.6))
        axes = drawing.add_subplot()
        places = each.places or tuple(range(len(each.values)))
        for values, colour in ((each.cloud, report.GREY), (each.edge, report.BLUE)):
            line = "-" if each.places else "none"
            axes.plot(places, values, linestyle=line, marker="o", markersize=4, color=colour)
        if not each.places:
            axes.set_xticks(range(len(each.values)), [_short(value) for value in each.values])
            axes.tick_params(axis="x", labelsize=7, rotation=60)
        axes.set(ylim=(low - room, high + room))
        axes.set_title(drawn(each.feature), fontsize=9)
        axes.grid(alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
        parts.append(report.figure(drawing))
    return Markup('<div class="facts">{}</div>').format(Markup("").join(parts))


def maps(each: HeatMaps) -> Section:
    """A picture feature: each picture, and where its score comes from."""
    within = pictures.span(each.pictures)
    shown = pictures.to_bytes(pictures.shrunk(each.pictures, SIDE), within)
    lines = []
    for at, row in enumerate(each.numbers.tolist()):
        kinds = [("the edge model, covered", each.edge[at])]
        kinds.append(("the cloud model, covered", each.cloud[at]))
        if each.gradients is not None:
            kinds.append(("the cloud model, gradients", each.gradients[at]))
        cells: list[object] = [f"{row:,}", _enlarged(shown[at], f"row {row}")]
        for words, heat in kinds:
            if not np.isfinite(heat).all():
                cells.append("no time")
                continue
            small = pictures.shrunk(heat[None, ..., None], SIDE)[0, ..., 0]
            cells.append(_enlarged(heated(shown[at], small), f"row {row}: {words}"))
        cells.append(f"{each.correlations[at]:.3f}")
        lines.append(cells)
    head = ["row", "picture", "edge, covered", "cloud, covered"]
    head += ["cloud, gradients"] if each.gradients is not None else []
    note = (
        "Red: what is there raises the score of the class that the cloud model says; blue: it "
        "lowers it. covered: a patch is covered with what the mean picture has there; gradients: "
        "integrated gradients. alike: the rank correlation of the patches of edge and cloud. Each "
        "picture has a scale of its own."
    )
    table = Markup('<div class="heat">{}</div>').format(report.table([*head, "alike"], lines))
    return Section(f"Where in {each.feature}", table, note)


def heated(picture: npt.NDArray[np.uint8], heat: Array) -> npt.NDArray[np.uint8]:
    """A picture [height, width, 1 or 3] in pale grey, with heat [height, width] over it."""
    grey = picture.astype(np.float64).mean(axis=-1, keepdims=True)
    pale = np.repeat(160 + grey * 0.37, 3, axis=-1)
    largest = float(np.quantile(np.abs(heat), 0.99)) or float(np.abs(heat).max()) or 1.0
    share = np.clip(np.abs(heat) / largest, 0, 1)[..., None] * 0.85
    colour = np.where(heat[..., None] > 0, RED, BLUE)
    return np.asarray(np.rint(pale * (1 - share) + colour * share), np.uint8)


def _enlarged(picture: npt.NDArray[np.uint8], told: str) -> Markup:
    """A small picture with each pixel as a square, so that it can be seen."""
    times = max(1, SIDE // max(picture.shape[:2]))
    return pictures.image(picture.repeat(times, axis=0).repeat(times, axis=1), told)


def _short(value: str) -> str:
    return drawn(value if len(value) <= LETTERS else value[: LETTERS - 1] + "…")
