"""The candidates of `auto` in the report: size beside metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeline.components.convert.fallback import Candidate
from edgeline.components.convert.layer_errors import short
from edgeline.components.convert.settings import Limit
from edgeline.reports import report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "dynamic_wi4_afp32": report.ORANGE,
    "static_wi8_ai8": report.BLUE,
    "dynamic_wi8_afp32": report.GREEN,
}


def sections(
    candidates: Sequence[Candidate], cloud: Mapping[str, float | None], limit: Limit | None
) -> list[report.Section]:
    """All candidates as a plot and a table, and whether the limit holds."""
    assert limit is not None
    holding = [candidate for candidate in candidates if candidate.holds]
    chosen = min(holding or candidates[-1:], key=lambda candidate: candidate.size)
    names = sorted(cloud)
    rows: list[list[object]] = [["trained model", None, None, *(cloud[n] for n in names), None, ""]]
    for candidate in candidates:
        verdict: object = "not judged: a smaller one holds"
        if candidate.drop is not None:
            verdict = report.badge(
                "holds" if candidate.holds else "drops too much", candidate.holds
            )
        rows.append(
            [
                candidate.quantisation + (" (chosen)" if candidate is chosen else ""),
                len(candidate.kept),
                report.size(candidate.size),
                *(candidate.metrics.get(name) for name in names),
                candidate.drop,
                verdict,
            ]
        )
    text = (
        f"The smallest model whose metrics drop by at most {limit.max_drop:g} on split "
        f"{limit.split}: {chosen.quantisation}, "
        f"{', '.join(map(short, chosen.kept)) or 'no layer'} in higher precision."
    )
    if not holding:
        text = (
            f"No model holds the limit of {limit.max_drop:g} on split {limit.split}, not even the "
            "float one, which is what was written."
        )
    head = ["tried", "kept layers", "size", *names, "drop", ""]
    return [
        report.Section(
            "Candidates", report.text(text) + report.figure(_plot(candidates, chosen, limit))
        ),
        report.Section("Every candidate", report.table(head, rows)),
    ]


def _plot(candidates: Sequence[Candidate], chosen: Candidate, limit: Limit) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3))
    axes = figure.subplots()
    judged = [candidate for candidate in candidates if candidate.drop is not None]
    for name in dict.fromkeys(candidate.quantisation for candidate in judged):
        of = sorted((c for c in judged if c.quantisation == name), key=lambda c: c.size)
        colour = COLOURS.get(name, report.GREY)
        sizes, drops = [c.size / 1000 for c in of], [float(c.drop or 0.0) for c in of]
        axes.plot(sizes, drops, "o-", color=colour, label=name, markersize=5)
    axes.plot(
        [chosen.size / 1000],
        [float(chosen.drop or 0.0)],
        "o",
        markersize=13,
        fillstyle="none",
        color=report.RED,
        label="chosen",
    )
    axes.axhline(limit.max_drop, color=report.GREY, linestyle="--", linewidth=1, label="limit")
    axes.set_xlabel("size, kB")
    axes.set_ylabel("drop of the worst metric")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure
