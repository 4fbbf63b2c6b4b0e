"""Accuracy and latency of a model by target, the cloud model as the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from edgeline.reports import report
from edgeline.reports.drawn import drawn
from edgeline.reports.report import BLUE, GREEN, GREY, ORANGE, RED, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Verified:
    """A verification, and what it is of.

    Attributes:
        name: the edge model's or target's, unlike every other's.
        facts: the metadata of `verification/v1`.
        timing: its `timing.json`, milliseconds and bytes.
    """

    name: str
    facts: Mapping[str, Any]
    timing: Mapping[str, Any]

    @property
    def itself(self) -> bool:
        """What was run was this model, not the one that it was compiled from."""
        return bool(self.facts.get("runs_here", True))

    @property
    def approved(self) -> bool:
        return bool(self.facts["approved"])


def section(verified: Sequence[Verified]) -> Section:
    """Metrics and latency of each, drawn and as a table."""
    first = verified[0].facts
    names = list(dict.fromkeys(name for each in verified for name in each.facts["metrics"]))
    drawings = [report.figure(_metric(name, verified)) for name in names]
    drawings.append(report.figure(_latency(verified)))
    row = Markup('<div class="facts">') + Markup("").join(drawings) + Markup("</div>")
    parts = [row, _table(verified, names)]
    for each in verified:
        parts += [report.text(f"{each.name}: {reason}") for reason in each.facts["reasons"]]
    unproven = {
        name
        for each in verified
        for name in each.facts.get("probes", {}).get("not_proven_missing", ())
    }
    if unproven:
        parts.append(
            report.text(
                f"Not proven missing: {', '.join(sorted(unproven))}. A server refuses a row "
                "without one."
            )
        )
    note = (
        f"On {report.number(first['rows'])} rows of split {first['split']}. The dashed line is the "
        "cloud model. Latency is of one row at a time in one thread, on the machine that "
        "verified, not on the device."
    )
    if not all(each.itself for each in verified):
        note += (
            " Hollow: only the device runs this target, so the model that it was compiled from "
            "answered for it."
        )
    return Section("Accuracy and latency by target", Markup("").join(parts), note)


def _metric(name: str, verified: Sequence[Verified]) -> Figure:
    figure, axes = _rows(verified)
    values = [each.facts["metrics"].get(name, {}) for each in verified]
    cloud = next((value["cloud"] for value in values if value.get("cloud") is not None), None)
    for place, (each, value) in enumerate(zip(verified, values, strict=True)):
        if (edge := value.get("edge")) is None:
            continue
        colour = GREEN if each.approved else RED
        if cloud is not None:
            axes.plot([cloud, edge], [place, place], color=colour, linewidth=2, zorder=2)
        face = colour if each.itself else "white"
        axes.plot([edge], [place], "o", markerfacecolor=face, markeredgecolor=colour, zorder=3)
        axes.annotate(
            f"{edge:.4f}", (edge, place), (5, 7), textcoords="offset points", ha="left",
            fontsize=8,
        )  # fmt: skip
    if cloud is not None:
        axes.axvline(cloud, color=GREY, linestyle="--", zorder=1)
        axes.set_title(f"{drawn(_words(name))} (cloud {cloud:.4f})", fontsize=10, loc="left")
    found = [v[side] for v in values for side in ("cloud", "edge") if v.get(side) is not None]
    if found:
        low, high = min(found), max(found)
        room = max(0.25 * (high - low), 0.004 * max(abs(high), 1e-9))
        axes.set_xlim(low - room, high + room)
    axes.set_xlabel(drawn(_words(name)))
    axes.locator_params(axis="x", nbins=5)
    return figure


def _latency(verified: Sequence[Verified]) -> Figure:
    figure, axes = _rows(verified)
    most = max(each.timing["p99_ms"] for each in verified)
    for place, each in enumerate(verified):
        half, last = each.timing["p50_ms"], each.timing["p99_ms"]
        axes.barh(place, half, height=0.5, color=BLUE if each.itself else "white", edgecolor=BLUE)
        axes.plot([half, last], [place, place], color=ORANGE, linewidth=1.5)
        axes.plot([last], [place], "|", color=ORANGE, markersize=10, markeredgewidth=2)
        axes.annotate(
            f"{half:.3g} / {last:.3g}", (last, place), (6, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip
    axes.set_title("latency, median and 99th percentile", fontsize=10, loc="left")
    axes.set_xlim(0, 1.35 * max(most, 1e-9))
    axes.set_xlabel("milliseconds")
    return figure


def _rows(verified: Sequence[Verified]) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 0.9 + 0.42 * len(verified)))
    axes = figure.subplots()
    axes.set_yticks(range(len(verified)), [drawn(each.name) for each in verified], fontsize=9)
    axes.set_ylim(len(verified) - 0.4, -0.7)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.2)
    return figure, axes


def _table(verified: Sequence[Verified], names: Sequence[str]) -> Markup:
    rows = []
    for each in verified:
        facts, timing = each.facts, each.timing
        metrics = [facts["metrics"].get(name, {}) for name in names]
        rows.append(
            [
                each.name,
                report.badge(*(("approved", True) if each.approved else ("refused", False))),
                facts["runtime"] + ("" if each.itself else ", in its place"),
                *(value.get(side) for value in metrics for side in ("edge", "drop")),
                facts["changed_decisions"],
                facts["max_difference"],
                _probes(facts),
                timing["p50_ms"],
                timing["p99_ms"],
                "–" if timing["peak_bytes"] is None else report.size(timing["peak_bytes"]),
            ]
        )
    head = ["Target", "", "Run in"]
    head += [text for name in names for text in (_words(name), "drop")]
    head += ["Changed decisions", "Largest difference", "Probes", "p50 ms", "p99 ms", "Peak memory"]
    return report.table(head, rows)


def _probes(facts: Mapping[str, Any]) -> str:
    """How many were asked, and how many count against it; a dash where none were, as before."""
    if not (probes := facts.get("probes")):
        return "–"
    told = report.number(probes["asked"])
    return f"{told}, {report.number(probes['at_fault'])} differ" if probes["at_fault"] else told


def _words(name: str) -> str:
    return name.replace("_", " ")
