"""The page of a search: what was chosen, the front, what mattered, and every trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgeline.components.tune import drawings
from edgeline.components.tune.objectives import Objective
from edgeline.components.tune.outcome import COMPLETE, INFEASIBLE, TrialOutcome
from edgeline.components.tune.space import Dimension
from edgeline.reports import report
from edgeline.reports.report import Fact, Section

HOVER = "A point or line tells its trial under the mouse; green is the one that goes on, orange "
HOVER += "what misses a requirement."


def write(
    path: str | Path,
    trials: Sequence[TrialOutcome],
    objectives: Sequence[Objective],
    metadata: Mapping[str, Any],
    dimensions: Sequence[Dimension],
) -> None:
    """Write the page.

    Args:
        trials: by number, interrupted ones among them.
        metadata: of `study/v1`.
        dimensions: of the search space where it is an object; none where a function makes it.
    """
    chosen, best = metadata["chosen"], metadata["front"]
    counted = [each for each in trials if each.counts]
    facts = [Fact("chosen trial", str(chosen), True)]
    facts += [Fact(name, report.number(value)) for name, value in metadata["values"].items()]
    facts.append(Fact("trials", str(len(counted))))
    complete = sum(each.state == COMPLETE for each in trials)
    facts.append(Fact("complete", f"{complete} of {len(counted)}"))
    sections = [Section("The choice", _given(metadata["hyperparameters"]), metadata["rule"])]
    if metadata["notes"]:
        told = Markup("").join(map(report.text, metadata["notes"]))
        sections.append(Section("To note", told))
    if len(objectives) == 1:
        drawing = drawings.progress(trials, objectives[0], chosen)
        sections.append(Section("Trial by trial", drawing, HOVER))
    for other in objectives[1:]:
        pair = [objectives[0], other]
        title = f"{pair[0].name} and {other.name}"
        note = f"The dashed line joins the trials that no other beats. {HOVER}"
        shown = objectives if len(objectives) == 2 else list(dict.fromkeys([*pair, *objectives]))
        drawing = drawings.front(trials, shown, best, chosen)
        sections.append(Section(title, drawing, note if len(objectives) == 2 else HOVER))
    sections.append(
        Section(
            "Hyperparameters and objectives",
            drawings.parallel(trials, objectives, chosen),
            "A line each measured trial, from what it was given to what it gave.",
        )
    )
    sections += _importances(metadata["importances"])
    if drawing := drawings.curves(trials, chosen):
        sections.append(Section("Validation loss by epoch", drawing, HOVER))
    if dimensions:
        rows = [(each.name, each.words) for each in dimensions]
        sections.append(Section("The search space", report.table(("name", "values"), rows)))
    sections.append(Section("Trials", _trials(trials, objectives, chosen, best)))
    report.write(path, "Tuning", facts, sections)


def _given(hyperparameters: Mapping[str, Any]) -> Markup:
    rows = [(name, json.dumps(value)) for name, value in hyperparameters.items()]
    return report.table(("hyperparameter", "value"), rows)


def _importances(found: Mapping[str, Mapping[str, float]]) -> list[Section]:
    note = (
        "The share of what sets the best tenth of the measured trials apart, by PED-ANOVA: of few "
        "trials a rough guess."
    )
    return [
        Section(f"What matters for {name}", drawings.bars(shares), note)
        for name, shares in found.items()
    ]


def _trials(
    trials: Sequence[TrialOutcome],
    objectives: Sequence[Objective],
    chosen: int,
    best: Sequence[int],
) -> Markup:
    """The chosen one first, then those of the front, complete, infeasible, and the others."""
    order = {COMPLETE: 2, INFEASIBLE: 3}

    def rank(each: TrialOutcome) -> tuple[int, int]:
        first = 0 if each.number == chosen else 1 if each.number in best else 0
        return (first if each.number == chosen or first else order.get(each.state, 4), each.number)

    rows = [
        (
            report.badge("chosen", True) if each.number == chosen else each.state,
            str(each.number),
            *(report.number(each.values.get(o.name)) for o in objectives),
            ", ".join(f"{k} {json.dumps(v)}" for k, v in each.hyperparameters.items()),
            f"{each.seconds:.1f} s",
            each.reason,
        )
        for each in sorted(trials, key=rank)
    ]
    names = [o.name for o in objectives]
    return report.table(("", "trial", *names, "hyperparameters", "took", "why"), rows)
