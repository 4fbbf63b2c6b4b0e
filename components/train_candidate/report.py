"""The page of one candidate: how far it came, why it is approved or not, and its steps' pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgeline.artifacts.candidates import APPROVED
from edgeline.reports import report
from edgeline.reports.candidates import COUNTS, SHOWN
from edgeline.reports.report import Fact, Section


def write(path: str | Path, metadata: Mapping[str, Any], pages: Mapping[str, str]) -> None:
    """Write the page.

    Args:
        metadata: of `candidate/v1`.
        pages: the HTML page of each step that ended, by its name.
    """
    good = metadata["state"] == APPROVED
    facts = [Fact("candidate", metadata["name"]), Fact("result", metadata["state"], good)]
    facts += [Fact(name, report.number(value)) for name, value in _first(metadata["metrics"])]
    if metadata["size"] is not None:
        facts.append(Fact("edge model", report.size(metadata["size"])))
    told = [report.text(each) for each in (*metadata["reasons"], *metadata["notes"])]
    sections = [Section("To note", Markup("").join(told))] if told else []
    values = {"module": metadata["module"], "rows": metadata["training_rows"] or "all"}
    values |= metadata["training"]
    rows = [(name, str(value)) for name, value in values.items()]
    sections.append(Section("What it is", report.table(("name", "value"), rows)))
    sections += [Section(name, report.framed(page)) for name, page in pages.items()]
    report.write(path, f"Candidate {metadata['name']}", facts, sections)


def _first(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in metrics.items() if name not in COUNTS][:SHOWN]
