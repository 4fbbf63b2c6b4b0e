"""A placement as a page: operators in the order of execution, the cut, memory, advice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from edgeline.components.check.edgetpu_memory import Memory, Range
from edgeline.components.check.placement import SIZE, PlacedOperator, Placement
from edgeline.reports import report
from edgeline.reports.report import BLUE, GREEN, GREY, ORANGE, RED, Fact, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 2000


def write(path: str | Path, placement: Placement) -> None:
    """Write the page of a placement."""
    operators, memory = placement.operators, placement.memory
    whole = placement.mapped == len(operators) and bool(operators)
    facts = [
        Fact(
            f"operators on the {placement.device}", f"{placement.mapped} of {len(operators)}", whole
        ),
        Fact("mapped", f"{placement.share:.1%}", whole),
        Fact("depend on size", str(placement.uncertain), None if placement.uncertain else True),
    ]
    if memory is not None:
        facts += [
            Fact("parameters cached", ranged(memory.cached)),
            Fact("streamed at each run", ranged(memory.streamed), memory.streamed.likely == 0),
        ]
    sections = []
    if placement.failure:
        sections.append(Section("The compiler would fail", report.text(placement.failure)))
    sections.append(
        Section(
            "Where the operators run",
            report.figure(_strip(operators)),
            f"In the order of execution: green on the {placement.device}; red not taken; grey "
            "taken, but behind one that is not; orange depends on a size.",
        )
    )
    if placement.advice:
        behind = any(placed.verdict.maps and not placed.mapped for placed in operators)
        rows = [
            (entry.operator, entry.count, entry.sentence, entry.fix, entry.source)
            for entry in placement.advice
        ]
        sections.append(
            Section(
                "What to change",
                report.table(("Operator", "Count", "Why", "In the Keras model", "Source"), rows),
                "In the order of execution"
                + (
                    f": the first keeps all behind it from the {placement.device}."
                    if behind
                    else "."
                ),
            )
        )
    if memory is not None:
        sections.append(
            Section(
                "Memory of the Edge TPU",
                report.figure(_memory(memory)),
                "What is most likely, in MB. Only the compiler knows: "
                f"{ranged(memory.executable)} of instructions, {ranged(memory.cached)} of "
                f"parameters cached, {ranged(memory.streamed)} streamed.",
            )
        )
    if placement.warnings:
        notes = Markup("").join(report.text(warning) for warning in placement.warnings)
        sections.append(Section("To note", notes))
    if placement.compiled is not None:
        sections.append(Section("Predicted and compiled", _truth(placement)))
    sections.append(
        Section(
            "Every operator",
            report.table(
                (
                    "#",
                    "Operator",
                    "Version",
                    "Output",
                    "Runs on",
                    "State",
                    "Compiler",
                    "Rule",
                    "Source",
                ),
                [_row(placed, placement.device) for placed in operators[:MOST_ROWS]],
            ),
            f"The first {MOST_ROWS:,}." if len(operators) > MOST_ROWS else "",
        )
    )
    name = Path(placement.model).name
    report.write(path, f"{name} on {placement.target}: placement", facts, sections)


def colour(placed: PlacedOperator) -> str:
    """The colour of an operator in the page."""
    return colour_of(placed.verdict.state, placed.mapped, placed.verdict.maps)


def colour_of(state: str, mapped: bool, maps: bool) -> str:
    """The same by what `placement.json` says of an operator and its verdict."""
    if state == SIZE:
        return ORANGE
    if mapped:
        return GREEN
    return GREY if maps else RED


def ranged(figure: Range) -> str:
    """Bytes that are known only between two bounds, in words."""
    if figure.low == figure.high:
        return report.size(figure.low)
    bounds = f"{report.size(figure.low)} to {report.size(figure.high)}"
    return f"{report.size(figure.likely)} ({bounds})"


def _row(placed: PlacedOperator, device: str) -> tuple[object, ...]:
    verdict = placed.verdict
    return (
        placed.index,
        placed.operator,
        placed.version,
        "×".join(map(str, placed.shape)),
        report.badge(device if placed.mapped else "CPU", placed.mapped),
        verdict.state,
        placed.status,
        verdict.rule,
        verdict.source,
    )


def _strip(operators: Sequence[PlacedOperator]) -> Figure:
    from matplotlib.figure import Figure

    columns = 40
    rows = max(-(-len(operators) // columns), 1)
    rows = min(rows, 50)
    figure = Figure(figsize=(9, 0.4 + 0.25 * rows))
    axes = figure.add_subplot()
    for place, placed in enumerate(operators[: rows * columns]):
        axes.barh(
            place // columns,
            0.9,
            left=place % columns,
            height=0.8,
            color=colour(placed),
            linewidth=0,
        )
    axes.set_xlim(0, columns)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks(range(rows), [str(row * columns) for row in range(rows)])
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    return figure


def _memory(memory: Memory) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2))
    axes = figure.add_subplot()
    left = 0.0
    for name, size, shade in (
        ("instructions", memory.executable.likely, ORANGE),
        ("parameters cached", memory.cached.likely, BLUE),
        ("streamed", memory.streamed.likely, RED),
    ):
        axes.barh(0, size / 1e6, left=left, color=shade, label=name)
        left += size / 1e6
    axes.axvline(memory.sram / 1e6, color=GREY, linestyle="--", label="SRAM")
    axes.set_yticks([])
    axes.set_xlim(0, max(left, memory.sram / 1e6) * 1.05)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return figure


def _truth(placement: Placement) -> Markup:
    truth, memory = placement.compiled, placement.memory
    if truth is None or memory is None or placement.runtime is None:
        return Markup("")
    return report.table(
        ("", "Predicted", "Compiled"),
        [
            (
                "operators on the CPU",
                sum(placement.left_on_cpu.values()),
                sum(truth.on_cpu.values()),
            ),
            ("segments", placement.segments, len(truth.segments)),
            ("parameters cached", ranged(memory.cached), report.size(truth.cached_bytes)),
            ("streamed", ranged(memory.streamed), report.size(truth.streamed_bytes)),
            (
                "instructions",
                ranged(memory.executable),
                report.size(truth.instruction_bytes),
            ),
            (
                "Edge TPU runtime",
                f"{placement.runtime.low} to {placement.runtime.high}",
                truth.runtime_version,
            ),
        ],
    )
