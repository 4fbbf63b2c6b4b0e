"""The verify page: verdict and reasons first, then the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from edgeline.artifacts import example_weights
from edgeline.artifacts.features import MISSING_INT, Feature
from edgeline.artifacts.shares import at_most
from edgeline.components.verify import malformed, probes_report
from edgeline.components.verify.latency import Latency
from edgeline.components.verify.parity import EDGES, Parity, ParityRow
from edgeline.reports import report
from edgeline.reports.report import Fact, Section, number
from edgeline.reports.requirements import section as required_section

if TYPE_CHECKING:
    from edgeline.components.verify.findings import Findings

ROUNDING = 1e-5  # that of float32 through a network; beyond it a difference means something
ORDER = ("crashed", "hung", "raised", "spoiled", "answered", "refused")


def write(path: str | Path, findings: Findings, features: Sequence[Feature], task: str) -> None:
    """Write the page of a verification."""
    name = f"{findings.subject.quantisation.name} edge model in {findings.subject.runtime}"
    found, latency = findings.parity, findings.latency
    first = "file" if findings.original.imported else "cloud"
    approved = not findings.reasons
    decided = task != "regression"
    changed = found.changed_decisions
    facts = [
        Fact("verdict", "approved" if approved else "not approved", approved),
        Fact(f"rows of split {findings.split}", number(found.rows)),
        Fact("largest difference", number(found.max_difference, 3)),
        probes_report.fact(findings.probing),
        *([Fact("changed decisions", f"{number(changed)} ({changed / found.rows:.2%})")] * decided),
        Fact("latency p50 / p99", f"{number(latency.p50_ms, 3)} / {number(latency.p99_ms, 3)} ms"),
        Fact("peak memory", "–" if latency.peak_bytes is None else report.size(latency.peak_bytes)),
    ]
    sections = [
        Section("Verdict", _verdict(findings, name)),
        *required_section(findings.met),
        Section("Metrics", _metrics(found, first), " ".join(_metrics_notes(findings, decided))),
        Section(
            "Predictions",
            _scatter(found, first),
            f"{first.capitalize()} against edge, {number(len(found.points))} evenly spread rows "
            "of the split.",
        ),
        Section(
            "Differences",
            _histogram(found) + _outputs(found),
            f"|edge - {first}|, relative where the {first}'s value is above 1; the largest of a "
            "row.",
        ),
        Section(
            "Rows that differ most",
            _worst(found, features, first),
            "Raw features of each row.",
        ),
        probes_report.section(findings.probing, first),
        Section(
            "Latency",
            _latency(latency),
            f"The bare interpreter, one thread, one row at a time, {number(latency.runs)} calls; "
            f"first answer {number(latency.load_ms, 3)} ms after the file is opened.",
        ),
        Section(
            "Malformed input",
            _malformed(findings),
            f"Each kind {malformed.extent(findings.inputs)}: an answer or a polite refusal is "
            "right.",
        ),
    ]
    report.write(path, f"Verify: {name}", facts, sections)


def write_not_compared(path: str | Path, what: Fact, happened: str, reason: str) -> None:
    """Write the page of a model of which nothing could be compared.

    Args:
        what: it is, for the facts on top.
        happened: to it, in a few words.
    """
    facts = [Fact("approved", "no", False), what]
    sections = [Section(happened[0].upper() + happened[1:], report.text(reason))]
    report.write(path, f"Verify: {happened}", facts, sections)


def _verdict(findings: Findings, name: str) -> Markup:
    if findings.reasons:
        items = Markup("").join(Markup("<li>{}</li>").format(text) for text in findings.reasons)
        return Markup("<ul>") + items + Markup("</ul>")
    return report.text(
        f"Compared with {findings.original.words}, the {name} keeps within every limit on all "
        f"{number(findings.parity.rows)} rows and "
        f"{number(len(findings.probing.asked))} probes, and stands all "
        f"{number(len(findings.cases))} cases of malformed input."
    )


def _metrics(found: Parity, first: str) -> Markup:
    if not found.labelled_rows:
        return report.text("No row has a label: how good the model is, is not known.")
    rows = [
        (name, values["cloud"], values["edge"], values["drop"], found.drops_at_most.get(name))
        for name, values in found.metrics.items()
    ]
    return report.table(["metric", first, "edge", "drop", "drop at most"], rows)


def _bounds(found: Parity, allowed: float) -> str:
    """How small a drop so many rows can show, and whether that is the one that is allowed."""
    if not found.labelled_rows:
        return ""
    told = (
        "The last column is what a drop is not above on rows that were not seen, with a confidence "
        f"of 95 %: a smaller one could stay unseen in {number(found.labelled_rows)} rows. "
    )
    wide = [name for name, most in found.drops_at_most.items() if most is None or most > allowed]
    if wide:
        told += (
            f"For {' and '.join(wide)} it is above max_metric_drop ({allowed:g}), or not known, so "
            "these rows do not rule out a larger one: evaluate on more. "
        )
    return told


def _metrics_notes(findings: Findings, decided: bool) -> list[str]:
    weighed_by = findings.original.artifact.metadata.get(example_weights.KEY)
    told = [_bounds(findings.parity, findings.limits.max_metric_drop)]
    if decided:
        told.append(_unseen(findings.parity))
    if weighed_by:
        told.append(f"{example_weights.unweighted(weighed_by)}.")
    return [note.strip() for note in told if note]


def _unseen(found: Parity) -> str:
    """How few changed decisions so many rows can show."""
    share = at_most(found.changed_decisions, found.rows)
    return (
        f"{number(found.changed_decisions)} of {number(found.rows)} decisions change. Of rows that "
        f"were not seen up to {share:.2%} may (with a confidence of 95 %), so a drop of accuracy "
        "up to that could have stayed unseen: more rows narrow it."
    )


def _outputs(found: Parity) -> Markup:
    rows = [
        (name, values["max_difference"], values["mean_difference"])
        for name, values in found.outputs.items()
    ]
    return report.table(["output", "largest difference", "mean difference"], rows)


def _scatter(found: Parity, first: str) -> Markup:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5, 5))
    axes = drawing.add_subplot()
    points = np.array(found.points, float).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    low, high = (float(points.min()), float(points.max())) if len(points) else (0.0, 1.0)
    axes.plot([low, high], [low, high], color=report.GREY, linewidth=1, zorder=1)
    axes.scatter(points[:, 0], points[:, 1], s=8, color=report.BLUE, alpha=0.5, linewidths=0)
    axes.set(xlabel=first, ylabel="edge", aspect="equal")
    axes.grid(alpha=0.2)
    return report.figure(drawing)


def _histogram(found: Parity) -> Markup:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(8, 2.8))
    axes = drawing.add_subplot()
    exponents = [round(np.log10(edge)) for edge in EDGES]
    names = ["equal", f"<1e{exponents[0]}"]
    names += [f"1e{low}…" for low in exponents]
    names += ["not finite"]
    axes.bar(names, found.histogram, color=report.BLUE)
    for place, rows in enumerate(found.histogram):
        if rows:
            axes.text(place, rows, f"{rows:,}", ha="center", va="bottom", fontsize=8)
    axes.set(ylabel="rows", yscale="symlog", ylim=(0, 3 * max(found.histogram)))
    axes.tick_params(axis="x", labelsize=8, rotation=30)
    axes.spines[["top", "right"]].set_visible(False)
    return report.figure(drawing)


def _worst(found: Parity, features: Sequence[Feature], first: str) -> Markup:
    """The rows that differ most; folded up those that differ by no more than rounding gives."""
    if not found.worst:
        return report.text("No row differs.")
    apart = [row for row in found.worst if not row.difference <= ROUNDING]
    alike = [row for row in found.worst if row.difference <= ROUNDING]
    shown = _rows(apart, features, first) if apart else Markup("")
    if alike:
        who = "The next" if apart else "No row differs by more than rounding gives: the first"
        told = f"{who} {number(len(alike))} by at most {number(alike[0].difference, 2)}"
        shown += Markup("<details><summary>{}</summary>{}</details>").format(
            told, _rows(alike, features, first)
        )
    return shown


def _rows(worst: Sequence[ParityRow], features: Sequence[Feature], first: str) -> Markup:
    names = [feature.name for feature in features]
    rows = [
        [
            row.number,
            number(row.difference, 3) if np.isfinite(row.difference) else "not finite",
            _values(row.cloud),
            _values(row.edge),
            *(_values(row.raw[name]) for name in names),
        ]
        for row in worst
    ]
    return report.table(["row", "difference", first, "edge", *names], rows)


def _values(values: Sequence[Any]) -> str:
    return ", ".join(_value(value) for value in values[:8]) + (" …" if len(values) > 8 else "")


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace") or "–"
    if value == MISSING_INT or value != value:
        return "–" if isinstance(value, int) else "NaN"
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _latency(latency: Latency) -> Markup:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(8, 2.8))
    axes = drawing.add_subplot()
    axes.plot(range(100), latency.quantiles_ms[:100], color=report.BLUE)
    for percentile, value in ((50, latency.p50_ms), (90, latency.p90_ms), (99, latency.p99_ms)):
        axes.plot([percentile], [value], "o", color=report.ORANGE)
        axes.annotate(
            f"p{percentile} {value:.3g} ms",
            (percentile, value),
            xytext=(-4, -14 if percentile == 90 and value > 0.3 * latency.p99_ms else 6),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.set(xlabel="percentile of calls", ylabel="milliseconds", ylim=(0, 1.35 * latency.p99_ms))
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    return report.figure(drawing)


def _malformed(findings: Findings) -> Markup:
    faults = malformed.faults(findings.cases)
    rows = []
    for kind in dict.fromkeys(
        [kind.name for kind in malformed.KINDS] + [case.kind for case in findings.cases]
    ):
        cases = [case for case in findings.cases if case.kind == kind]
        bad = [case for case in cases if case in faults]
        counts = [
            f"{outcome} {count}"
            for outcome in ORDER
            if (count := sum(case.outcome == outcome for case in cases))
        ]
        label = ", ".join(counts) or "no such input"
        message = (bad or cases)[0].message if cases else ""
        shown = message if len(message) < 160 else message[:157] + "…"
        rows.append([kind, report.badge(label, not bad) if cases else label, shown])
    return report.table(["kind", "what happened", "for example"], rows)
