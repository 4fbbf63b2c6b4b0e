"""A model's size from stage to stage: SavedModel, edge models, what compilers made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeline.reports import report
from edgeline.reports.drawn import drawn
from edgeline.reports.report import BLUE, GREEN, GREY, RED, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINED, EDGE, COMPILED = "trained", "converted", "compiled"
COLOURS = {TRAINED: GREY, EDGE: BLUE, COMPILED: GREEN}


@dataclass(frozen=True)
class Stage:
    """A form of the model.

    Attributes:
        name: what it is called, unlike every other's.
        kind: TRAINED, EDGE or COMPILED.
        size: bytes.
        before: the name of the stage it is compared with, "" where there is none.
    """

    name: str
    kind: str
    size: int
    before: str = ""


def section(stages: Sequence[Stage]) -> Section:
    """The stages as a waterfall, and in bytes."""
    sizes = {stage.name: stage.size for stage in stages}
    first = stages[0]
    rows = [
        (
            stage.name,
            stage.kind,
            stage.size,
            _change(stage, sizes),
            f"{stage.size / max(first.size, 1):.1%}",
        )
        for stage in stages
    ]
    head = ("Stage", "", "Bytes", "Change", f"Of the {first.name}")
    return Section(
        "Size by stage",
        report.figure(_waterfall(stages, sizes)) + report.table(head, rows),
        "Each stage beside the one before it, a compiled model beside what it was compiled "
        "from: hatched is what went, red what came.",
    )


def _change(stage: Stage, sizes: dict[str, int]) -> str | None:
    if not stage.before:
        return None
    if stage.size == sizes[stage.before]:
        return f"as {stage.before}"
    return f"{_signed(stage.size, sizes[stage.before])} from {stage.before}"


def _signed(size: int, before: int) -> str:
    return f"{size / max(before, 1) - 1:+.1%}".replace("-", "−")


def _waterfall(stages: Sequence[Stage], sizes: dict[str, int]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.7 + 0.42 * len(stages)))
    axes = figure.subplots()
    unit, divisor = _unit(max(sizes.values()))
    for place, stage in enumerate(stages):
        size = stage.size / divisor
        before = sizes[stage.before] / divisor if stage.before else size
        axes.barh(place, min(size, before), color=COLOURS[stage.kind], height=0.62)
        if size < before:
            axes.barh(
                place, before - size, left=size, height=0.62, color="#f1f5f9",
                edgecolor="#cbd5e1", hatch="///", linewidth=0,
            )  # fmt: skip
        elif size > before:
            axes.barh(place, size - before, left=before, height=0.62, color=RED)
        if stage.before:
            above = [other.name for other in stages].index(stage.before)
            axes.plot([before] * 2, [above + 0.31, place - 0.31], color=GREY, linewidth=0.8, ls=":")
        label = report.size(stage.size)
        if size != before:
            label += f"  {_signed(stage.size, sizes[stage.before])}"
        axes.annotate(
            label, (max(size, before), place), (5, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(stages)), [drawn(stage.name) for stage in stages])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.36 * max(max(sizes.values()) / divisor, 1e-9))
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _unit(most: int) -> tuple[str, float]:
    return next(
        ((unit, divisor) for unit, divisor in (("MB", 1e6), ("kB", 1e3)) if most >= divisor),
        ("bytes", 1.0),
    )
