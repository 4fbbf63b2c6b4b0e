"""Fairness on the page of an evaluation: without and with mitigation, beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from edgeline.artifacts.fairness import DIFFERENCES
from edgeline.components.analyze.fair_decisions import FairnessResult, FairnessSide
from edgeline.components.analyze.group_fairness import RATES, Estimate
from edgeline.reports import report as html
from edgeline.reports.report import Section

HEADS = ("Yes", "True positive rate", "False positive rate", "Calibration error")
NOTE = (
    "Each with its 95 % interval. A difference is between the groups that have the largest and the "
    "smallest rate; its lower end is above 0 where it is more than chance between so many groups."
)
CROSSED = (
    " What thresholds by group come to is of rows that they were not chosen on: each fifth "
    "of the rows is decided by those of the others. The thresholds below are chosen on all rows."
)
UNSERVED = (
    "They are in fairness.json and in the bundle's manifest, under evaluation.group_thresholds. "
    "edgeline's server and verify decide by the one threshold: your application has to decide by "
    "these, with edgeline.artifacts.group_decisions."
)


def sections(result: FairnessResult | None) -> list[Section]:
    """The page's sections; none where nothing was asked."""
    if result is None:
        return []
    group = result.settings.group
    found = [
        Section(f"Fairness between groups of {group}", _differences(result), _note(result)),
        Section(f"Rates by {group}", _rates(result.sides)),
    ]
    if result.thresholds:
        rows: list[tuple[object, object]] = sorted(result.thresholds.items())
        rows.append(("all others", result.other))
        table = html.table([group, "A yes is above"], rows)
        found.append(Section("Thresholds by group", table, UNSERVED))
    return found


def _note(result: FairnessResult) -> str:
    note = NOTE + (CROSSED if result.settings.mitigation == "thresholds" else "")
    if len(result.served.classes) > 1:
        note += (
            " Each class is looked at against the rest; told is the class with the worst value, "
            "all are in fairness.json."
        )
    return note


def _differences(result: FairnessResult) -> Markup:
    head = ["Metric", *(side.name for side in result.sides)]
    rows = [
        [name.replace("_", " "), *(_cell(side.worst[name]) for side in result.sides)]
        for name in DIFFERENCES
    ]
    rows.append(["accuracy", *(_cell(side.accuracy) for side in result.sides)])
    said = Markup("").join(html.text(f"{note[:1].upper()}{note[1:]}.") for note in result.notes)
    return said + html.table(head, rows)


def _rates(sides: Sequence[FairnessSide]) -> Markup:
    several = len(sides) > 1
    classes = list(sides[0].classes)
    head = ["Group", *(["Class"] if len(classes) > 1 else []), "Rows"]
    head += [*(["Decided by"] if several else []), *HEADS]
    rows: list[list[object]] = []
    for name in classes:
        by_side = [{each.name: each for each in side.classes[name].groups} for side in sides]
        for each in sides[0].classes[name].groups:
            for side, found in zip(sides, by_side, strict=True):
                row: list[object] = [each.name, *([name] if len(classes) > 1 else []), each.rows]
                row += [side.name] if several else []
                rows.append([*row, *(_cell(getattr(found[each.name], rate)) for rate in RATES)])
    return html.table(head, rows)


def _cell(each: Estimate) -> object:
    if each.value is None:
        return None
    if each.lower is None or each.upper is None:
        return Markup("{:.3f}").format(each.value)
    return Markup(
        '{:.3f} <span class="note" style="white-space:nowrap">{:.3f} to {:.3f}</span>'
    ).format(each.value, each.lower, each.upper)
