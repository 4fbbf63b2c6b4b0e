"""A placement as a table on the terminal."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeline.components.check.edgetpu_placement import PlacedOperator, Placement
from edgeline.reports import report

STYLES = {"yes": "green", "size-dependent": "yellow", "no": "red"}


def print_placement(console: Console, placement: Placement) -> None:
    """Print operators (those that run alike in one row), memory, warnings and advice."""
    table = Table(title=f"{placement.model} on {placement.target}", title_justify="left")
    for name in ("#", "Operators", "Runs on", "State", "Why"):
        table.add_column(name, justify="right" if name == "#" else "left")
    for _, entries in groupby(placement.operators, key=_row):
        run = list(entries)
        first = run[0]
        counts = Counter(placed.operator for placed in run)
        verdict = first.verdict
        table.add_row(
            str(first.index) if len(run) == 1 else f"{first.index}-{run[-1].index}",
            Text(", ".join(f"{count} {name}" for name, count in counts.items())),
            Text("TPU" if first.mapped else "CPU", "green" if first.mapped else "red"),
            Text(verdict.state, STYLES[verdict.state]),
            Text(first.status if verdict.state == "yes" else verdict.rule),
        )
    console.print(table)
    memory = placement.memory
    lines = [
        f"{placement.mapped} of {len(placement.operators)} operators map ({placement.share:.1%})",
        f"SRAM, estimated: {report.size(memory.cached)} of parameters cached, "
        f"{report.size(memory.executable)} of instructions, of {report.size(memory.sram)}; "
        f"{report.size(memory.streamed)} streamed at each run",
    ]
    if placement.compiled is not None:
        truth = placement.compiled
        lines.append(
            f"Compiled, in truth: {len(truth.segments)} segments, "
            f"{report.size(truth.cached_bytes)} cached, {report.size(truth.streamed_bytes)} "
            f"streamed, {sum(truth.on_cpu.values())} operators on the CPU, "
            f"runtime {truth.runtime_version}"
        )
    if placement.failure:
        lines.append(f"The compiler would fail: {placement.failure}")
    lines.extend(f"Note: {warning}" for warning in placement.warnings)
    lines.extend(
        f"{advice.count} x {advice.operator}: {advice.sentence} {advice.mend} ({advice.source})"
        for advice in placement.advice
    )
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _row(placed: PlacedOperator) -> tuple[bool, str, str]:
    verdict = placed.verdict
    return placed.mapped, placed.status, verdict.state if verdict.state == "yes" else verdict.rule
