"""What compilers made of a model, as one page: by target, size, placement, facts, notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from edgeline.artifacts import outcomes as requirement_outcomes
from edgeline.components.compile.target import Placed
from edgeline.reports import report, requirements
from edgeline.reports.drawn import drawn
from edgeline.reports.report import BLUE, GREEN, GREY, RED, Fact, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, MOST_ROWS = 40, 40  # of the strip of operators


@dataclass(frozen=True)
class TargetOutcome:
    """A target's compiled model (its metadata and placement), or why there is none."""

    target: str
    metadata: Mapping[str, Any] | None = None
    placed: tuple[Placed, ...] = ()
    failure: str = ""


def write(
    path: str | Path,
    model: str,
    outcomes: Sequence[TargetOutcome],
    warnings: Sequence[str] = (),
    joined: Sequence[Section] = (),
) -> None:
    """Write the page of one model and one or more targets.

    `joined` is what the model card draws of all of them; without it, their sizes are bars.
    """
    good = [outcome for outcome in outcomes if outcome.metadata is not None]
    facts = [Fact("compiled", f"{len(good)} of {len(outcomes)}", len(good) == len(outcomes))]
    met = [each for one in good for each in requirement_outcomes.of(one.metadata or {})]
    facts += requirements.fact(met)
    for outcome in good[:4]:
        facts.append(Fact(outcome.target, report.size((outcome.metadata or {})["size"])))
    sections = [Section("To note", report.text(warning)) for warning in warnings]
    sections += requirements.section(met)
    sections.append(Section("Targets", table(outcomes)))
    sections += joined
    if len(good) > 1 and not joined:
        sections.append(Section("Size", report.figure(_sizes(good))))
    for outcome in good:
        sections.append(Section(outcome.target, _target(outcome), _note(outcome)))
    report.write(path, f"{Path(model).name}: compiled", facts, sections)


def describe(facts: Mapping[str, Any]) -> str:
    """The numbers of the facts in a line: `arena 6.0 kB, estimated 0.03 ms`."""
    return ", ".join(
        f"{_words(name)} {value_of(name, value)}"
        for name, value in facts.items()
        if name not in ("size_bytes", "operators") and not isinstance(value, str)
    )


def value_of(name: str, value: float | int | str) -> str:
    """A fact for people, by the unit in its name."""
    if isinstance(value, str):
        return value
    if name.endswith("_bytes"):
        return report.size(round(value))
    if name.endswith("_ms"):
        return f"{value:.3g} ms"
    return report.number(value)


def on_accelerator(metadata: Mapping[str, object]) -> str:
    """`64 of 66`, or what is known."""
    if not metadata["operators"]:
        return "not told"
    if not metadata["on_accelerator"]:
        return f"{metadata['operators']}, all on the CPU"
    return f"{metadata['on_accelerator']} of {metadata['operators']}"


def table(outcomes: Sequence[TargetOutcome]) -> Markup:
    """A row for each target: size, operators on the accelerator, facts, or why it failed."""
    rows: list[tuple[str | Markup, ...]] = []
    for outcome in outcomes:
        if (found := outcome.metadata) is None:
            rows.append((outcome.target, report.badge("failed", False), "", "", outcome.failure))
            continue
        rows.append(
            (
                outcome.target,
                report.size(found["size"]),
                on_accelerator(found),
                report.bar(found["share"], GREEN) if found["on_accelerator"] else "",
                describe(found["facts"]),
            )
        )
    return report.table(("Target", "Size", "Operators on the accelerator", "", "Facts"), rows)


def _target(outcome: TargetOutcome) -> Markup:
    found = outcome.metadata or {}
    parts = []
    if outcome.placed and found["on_accelerator"]:
        parts.append(report.figure(_strip(outcome.placed)))
    left = Counter((p.operator, p.reason) for p in outcome.placed if p.device == "cpu")
    if left and found["on_accelerator"]:
        rows = [(name, count, reason) for (name, reason), count in left.items()]
        parts.append(report.table(("On the CPU", "Count", "Why"), rows))
    if predicted := found.get("predicted"):
        parts.append(_prediction(predicted, found))
    facts = [(_words(name), value_of(name, value)) for name, value in found["facts"].items()]
    settings = [(f"option {name}", value) for name, value in found["options"].items()]
    rest = [("file", found["model"]), ("quantisation", found["quantisation"])]
    parts.append(report.table(("", ""), [*facts, *settings, *rest]))
    parts.extend(report.text(note) for note in found["notes"])
    return Markup("").join(parts)


def _note(outcome: TargetOutcome) -> str:
    found = outcome.metadata or {}
    strip = "In the order of execution: green on the accelerator, red on the CPU. "
    return (strip if found["on_accelerator"] else "") + str(found["limits"])


def _prediction(predicted: Mapping[str, Any], found: Mapping[str, Any]) -> Markup:
    """What `edgeline check` said before the compiler, beside what came."""

    def listed(left: Mapping[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(left.items())) or "none"

    return report.table(
        ("", "Predicted", "Compiled"),
        [
            ("operators mapped", predicted["on_accelerator"], found["on_accelerator"]),
            ("left on the CPU", listed(predicted["left_on_cpu"]), listed(found["left_on_cpu"])),
        ],
    )


def _words(name: str) -> str:
    for unit in ("_bytes", "_ms"):
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def _strip(placed: Sequence[Placed]) -> Figure:
    from matplotlib.figure import Figure

    rows = min(-(-len(placed) // COLUMNS), MOST_ROWS)
    figure = Figure(figsize=(9, 0.4 + 0.25 * rows))
    axes = figure.add_subplot()
    for index, operator in enumerate(placed[: rows * COLUMNS]):
        colour = RED if operator.device == "cpu" else GREEN
        axes.barh(index // COLUMNS, 0.9, left=index % COLUMNS, height=0.8, color=colour)
    axes.set_xlim(0, COLUMNS)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks(range(rows), [str(row * COLUMNS) for row in range(rows)])
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    return figure


def _sizes(outcomes: Sequence[TargetOutcome]) -> Figure:
    from matplotlib.figure import Figure

    found = [(outcome.target, outcome.metadata or {}) for outcome in outcomes]
    figure = Figure(figsize=(7, 0.6 + 0.35 * len(found)))
    axes = figure.add_subplot()
    colours = [BLUE if metadata["on_accelerator"] else GREY for _, metadata in found]
    bars = axes.barh(
        [drawn(name) for name, _ in found],
        [metadata["size"] for _, metadata in found],
        color=colours,
    )
    axes.bar_label(bars, [report.size(metadata["size"]) for _, metadata in found], padding=4)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.margins(x=0.15)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure
