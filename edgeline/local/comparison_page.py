"""A comparison of runs for people: one page, and the same as tables of a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeline.local.comparison import DifferentValue, Measured, MeasuredRow, RunComparison
from edgeline.local.parameters import shown
from edgeline.reports import report

Row = Sequence[str]


def write(path: Path, compared: RunComparison) -> None:
    """Write the comparison as one self-contained HTML page."""
    beyond = sum(bool(row.beyond) for row in compared.metrics)
    slices = len({(row.task, row.slice) for row in compared.slices if row.beyond})
    report.write(
        path,
        f"{' against '.join(reversed(compared.runs))}",
        [
            report.Fact("runs", str(len(compared.runs))),
            report.Fact("parameters that differ", str(len(compared.parameters))),
            report.Fact("metrics beyond their interval", str(beyond)),
            report.Fact("slices beyond their interval", str(slices)),
        ],
        [
            report.Section(title, report.table(head, rows), note)
            for title, note, head, rows in tables(compared)
        ],
    )


def tables(compared: RunComparison) -> Iterable[tuple[str, str, list[str], list[Row]]]:
    """What there is to see, the most telling first: title, note, head and rows of each table."""
    names = list(compared.runs)
    changes = [f"change of {name}" for name in names[1:]] if names[2:] else ["change"]
    yield (
        "Parameters that differ",
        f"{compared.same} others are the same." if compared.parameters else
        f"None: all {compared.same} are the same.",
        ["parameter", *names],
        [_given(each) for each in compared.parameters],
    )  # fmt: skip
    if compared.surroundings:
        yield (
            "What else differs", "", ["", *names], [_given(each) for each in compared.surroundings]
        )  # fmt: skip
    if compared.metrics:
        yield (
            "Metrics",
            " ".join([_rows_note(compared), *compared.notes]),
            ["metric", *names, *changes, "beyond its interval"],
            [_measured(row, f"{row.task}: {row.name}") for row in compared.metrics],
        )
    if compared.slices:
        yield (
            "Slices that moved",
            "Those beyond their interval first, then by how far, as a share of the first run's "
            "value. A slice has few rows, and among many of them some move by chance.",
            ["slice", *names, *changes, "beyond its interval"],
            [_measured(row, f"{row.slice}: {row.name}") for row in compared.slices],
        )
    if compared.device:
        yield (
            "Size, latency and memory",
            "Latencies are of the machine that ran verify.",
            ["measured", *names, *changes],
            [_measured(row, f"{row.task}: {row.name}")[:-1] for row in compared.device],
        )
    yield (
        "Time of tasks",
        "A task whose result was taken from another run has none.",
        ["task", *names],
        [
            (row.task, *(f"{each.value:.1f} s" if each else "–" for each in row.values))
            for row in compared.times
        ],
    )
    yield (
        "The runs",
        "",
        ["run", "state", "started", "time"],
        [
            (name, state, started, f"{seconds:.1f} s")
            for name, state, started, seconds in zip(
                compared.runs, compared.states, compared.started, compared.seconds, strict=True
            )
        ],
    )


def _rows_note(compared: RunComparison) -> str:
    if compared.same_rows is None:
        return ""
    if compared.same_rows:
        return "All were evaluated on the same examples."
    return "The runs have different examples: their numbers are of different rows."


def _given(each: DifferentValue) -> Row:
    return (each.name, *map(shown, each.values))


def _measured(row: MeasuredRow, name: str) -> Row:
    size = row.name.startswith("size of ")
    beyond = {None: "–", True: "yes", False: "no"}[row.beyond]
    changes = ("–" if each is None else _change(each, size) for each in row.changes[1:])
    return (name, *(_value(each, size) for each in row.values), *changes, beyond)


def _value(each: Measured | None, size: bool) -> str:
    if each is None:
        return "–"
    if size:
        return report.size(int(each.value))
    value = report.number(each.value)
    if each.lower is None or each.upper is None:
        return value
    return f"{value} ({report.number(each.lower)} to {report.number(each.upper)})"


def _change(value: float, size: bool) -> str:
    if value == 0:
        return "0"
    told = report.size(int(abs(value))) if size else report.number(abs(value), 3)
    return f"{'+' if value > 0 else '−'}{told}"
