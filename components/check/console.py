"""A placement as a table on the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeline.components.check.placement import PlacedOperator, Placement
from edgeline.components.check.report import ranged
from edgeline.reports import report


@dataclass(frozen=True)
class Refusal:
    """A model that cannot be checked, and why in one sentence."""

    model: str
    sentence: str


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
            Text(placement.device if first.mapped else "CPU", "green" if first.mapped else "red"),
            Text(verdict.state, STYLES[verdict.state]),
            Text(first.status if verdict.state == "yes" else verdict.rule),
        )
    console.print(table)
    lines = [
        f"{placement.mapped} of {len(placement.operators)} operators map ({placement.share:.1%})"
    ]
    if (memory := placement.memory) is not None:
        lines.append(
            f"SRAM, estimated: {ranged(memory.cached)} of parameters cached, "
            f"{ranged(memory.executable)} of instructions, of {report.size(memory.sram)}; "
            f"{ranged(memory.streamed)} streamed at each run"
        )
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
        f"{advice.count} x {advice.operator}: {advice.sentence} {advice.fix} ({advice.source})"
        for advice in placement.advice
    )
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def print_overview(console: Console, found: Sequence[Placement | Refusal]) -> None:
    """Print several models as one table: what maps, what stays on the CPU, what to change."""
    table = Table(title="What maps, by model", title_justify="left", show_lines=True)
    for name in ("Model", "Maps", "Stays on the CPU", "What to change"):
        table.add_column(name, overflow="fold")
    for each in found:
        if isinstance(each, Refusal):
            table.add_row(Text(each.model), Text("?", "red"), "", Text(each.sentence))
            continue
        whole = each.share == 1
        table.add_row(
            Text(each.model),
            Text(
                f"{each.share:.1%}, {each.mapped} of {len(each.operators)}",
                "green" if whole else "red",
            ),
            Text(", ".join(f"{count} {name}" for name, count in each.left_on_cpu.items())),
            Text("\n".join(_changes(each))),
        )
    console.print(table)


def _changes(placement: Placement) -> list[str]:
    """What to change, one line a remedy with the operators it is for; first what comes first."""
    if placement.failure:
        return [placement.failure]
    by_remedy: dict[str, list[str]] = {}
    for advice in placement.advice:
        by_remedy.setdefault(advice.fix, []).append(f"{advice.count} {advice.operator}")
    return [f"{', '.join(operators)}: {fix}" for fix, operators in by_remedy.items()]


def _row(placed: PlacedOperator) -> tuple[bool, str, str]:
    verdict = placed.verdict
    return placed.mapped, placed.status, verdict.state if verdict.state == "yes" else verdict.rule
