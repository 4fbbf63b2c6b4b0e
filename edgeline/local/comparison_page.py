"""A comparison of runs for people: one page, and the same as tables of a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup

from edgeline.artifacts import write_text
from edgeline.local.comparison import BYTES, DifferentValue, Measured, MeasuredRow, RunComparison
from edgeline.local.parameters import shown_beside
from edgeline.reports import report
from edgeline.reports.drawn import drawn

Row = Sequence[str]
METRICS = "Metrics"
MOST_IN_MARKDOWN = 40  # rows of a table; a comment has some 60 kB
MARKERS = ("o-", "s--", "^-.", "d:")  # told apart without colours, too


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
        [*_sections(compared)],
    )


def write_markdown(path: Path, compared: RunComparison) -> None:
    """Write the comparison as tables in GitHub's Markdown, as code hosts take it in a comment.

    What a cell holds cannot end it, nor become a link or a tag: `|`, `<` and backticks are escaped.
    """
    lines = []
    for title, note, head, rows in tables(compared):
        lines += [f"**{title}**", ""]
        lines += [_escaped(note), ""] if note else []
        if rows:
            lines += [_line(head), _line(["---"] * len(head)), *map(_line, rows[:MOST_IN_MARKDOWN])]
            if (more := len(rows) - MOST_IN_MARKDOWN) > 0:
                lines += ["", f"{more} more are in the comparison's page."]
            lines.append("")
    write_text(path, "\n".join(lines) + "\n")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    for mark in "\\`|<>*_[]@#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def _sections(compared: RunComparison) -> Iterable[report.Section]:
    for title, note, head, rows in tables(compared):
        yield report.Section(title, report.table(head, rows), note)
        if title == METRICS and compared.curves:
            yield report.Section(
                "The training", _curves(compared), "By epoch, on the evaluation rows."
            )


def _curves(compared: RunComparison) -> Markup:
    """Each number of the trainings in a picture, with a line for each run."""
    drawing, panels = report.panels(len(compared.curves), 3.4)
    colours = (report.BLUE, report.ORANGE, report.GREEN, report.RED, report.GREY)
    for axes, curve in zip(panels, compared.curves, strict=True):
        for number, values in enumerate(curve.values):
            if values:
                axes.plot(
                    *(range(1, len(values) + 1), values, MARKERS[number % len(MARKERS)]),
                    color=colours[number % len(colours)],
                    label=drawn(compared.runs[number]),
                    markersize=4,
                )
        axes.set_title(drawn(f"{curve.task}: {curve.name}"))
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.locator_params(axis="x", integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    lines = {str(line.get_label()): line for axes in drawing.axes for line in axes.get_lines()}
    drawing.legend(list(lines.values()), list(lines), loc="outside upper left", frameon=False)
    return report.figure(drawing)


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
    if compared.metrics or compared.notes:
        yield (
            METRICS,
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
    if compared.times:
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
    return (each.name, *shown_beside(each.values))


def _measured(row: MeasuredRow, name: str) -> Row:
    size = row.name == BYTES
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
