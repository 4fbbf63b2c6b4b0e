"""Requirements in reports and terminals: one line each, met or not, and by how much."""

from __future__ import annotations

from collections.abc import Sequence

from edgeline.artifacts.outcomes import FAILED, MET, RequirementOutcome
from edgeline.reports.report import Fact, Section, badge, number, table


def section(met: Sequence[RequirementOutcome], title: str = "Requirements") -> list[Section]:
    """A table of requirements; nothing where none was asked."""
    if not met:
        return []
    rows = [
        (
            badge(each.state, each.state == MET) if each.state in (MET, FAILED) else each.state,
            each.what,
            each.wanted,
            "–" if each.value is None else f"{number(each.value)}{each.unit}",
            each.margin or "–",
            each.note,
        )
        for each in met
    ]
    head = ("", "requirement", "wanted", "found", "by how much", "where")
    return [Section(title, table(head, rows))]


def fact(met: Sequence[RequirementOutcome]) -> list[Fact]:
    """How many are met; nothing where none was asked."""
    if not met:
        return []
    good = sum(each.state == MET for each in met)
    return [Fact("requirements met", f"{good} of {len(met)}", good == len(met))]


def line(each: RequirementOutcome) -> str:
    """One line of a terminal."""
    mark = {MET: "✔", FAILED: "✘"}.get(each.state, "–")
    return f"{mark} {each.state}: {each.sentence}"
