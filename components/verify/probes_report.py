"""The part of the verify page on probes: what was asked, and both answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from edgeline.components.verify.probes import CATEGORY, PAIR
from edgeline.components.verify.probing import DIFFERS, REFUSED, UNASKED, Asked, Probing, said
from edgeline.reports import report
from edgeline.reports.report import Fact, Section, number

MOST_FAULTS, MOST_FEATURES = 50, 60  # that are shown
GROUPED = {CATEGORY: "values, one by one", PAIR: "pairs missing"}  # told in a line where alike


def fact(probing: Probing) -> Fact:
    """How many differ, for the head of the page."""
    asked, faults = len(probing.asked), len(probing.faults)
    told = f"{number(faults)} of {number(asked)} differ" if faults else f"{number(asked)}, alike"
    return Fact("probes", told, not faults)


def section(probing: Probing, first: str) -> Section:
    """All probes by feature, those at fault before; `first` is the original's name."""
    faults = probing.faults
    parts = []
    if faults:
        parts.append(_table(faults[:MOST_FAULTS], first, named=True))
        if len(faults) > MOST_FAULTS:
            parts.append(report.text(f"and {number(len(faults) - MOST_FAULTS)} more."))
    groups: dict[str, list[Asked]] = {}
    for each in probing.asked:
        several = len(each.probe.features) > 1
        groups.setdefault("several at once" if several else each.probe.features[0], []).append(each)
    for name, asked in list(groups.items())[:MOST_FEATURES]:
        parts.append(_group(name, asked, first))
    if len(groups) > MOST_FEATURES:
        parts.append(
            report.text(
                f"{number(len(groups) - MOST_FEATURES)} more features are in verification.json."
            )
        )
    if probing.left_out:
        parts.append(report.text(f"Not asked: {'; '.join(probing.left_out)}."))
    if probing.unproven:
        parts.append(
            report.text(
                f"Not proven missing: {', '.join(probing.unproven)}. A server refuses a row "
                "without one."
            )
        )
    note = (
        f"Questions that the split does not hold, on {number(probing.rows)} rows made of its own. "
        f"A difference above {number(probing.tolerance.difference, 3)} counts"
    )
    note += "." if probing.tolerance.beyond else ", unless the reason is named."
    return Section("Probes", Markup("").join(parts), note)


def _group(name: str, asked: Sequence[Asked], first: str) -> Markup:
    finite = [each.difference for each in asked if np.isfinite(each.difference)]
    faults = sum(each.fault for each in asked)
    told = f"largest difference {number(max(finite), 3)}" if finite else "no answers"
    count = f"{number(len(asked))} probe{'s' * (len(asked) != 1)}"
    return Markup("<details><summary>{}: {}, {}{}</summary>{}</details>").format(
        name, count, told, f", {number(faults)} at fault" if faults else "", _table(asked, first)
    )


def _table(asked: Sequence[Asked], first: str, named: bool = False) -> Markup:
    rows = []
    for kind, what in GROUPED.items():
        alike = [e for e in asked if e.probe.kind == kind and not e.fault]
        if alike and not named:
            worst = max(alike, key=lambda each: each.difference)
            rows.append(_row(f"{number(len(alike))} {what}; most apart: {_what(worst)}", worst))
    single = [e for e in asked if named or e.fault or e.probe.kind not in GROUPED]
    lines = [_row(each.probe.words if named else _what(each), each) for each in single]
    return report.table(["asked with", first, "edge", "difference", ""], lines + rows)


def _what(asked: Asked) -> str:
    probe = asked.probe
    return probe.what if len(probe.features) == 1 else probe.words


def _row(what: str, asked: Asked) -> list[object]:
    if asked.fault:
        verdict: object = report.badge("at fault", False)
    elif asked.outcome == DIFFERS:
        verdict = f"differs, not counted: {asked.because}"
    elif asked.outcome in (REFUSED, UNASKED):
        verdict = asked.outcome
    else:
        verdict = report.badge("alike", True)
    finite = number(asked.difference, 3) if np.isfinite(asked.difference) else "–"
    return [what, said(asked.cloud), said(asked.edge), finite, verdict]
