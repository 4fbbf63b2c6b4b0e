"""Candidates in reports and terminals: a row each, the one that goes on first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeline.artifacts.candidates import CHOSEN, CandidateOutcome
from edgeline.reports.report import Section, badge, number, size, table

SHOWN = 3  # metrics beside the one that decides
COUNTS = ("example_count", "weighted_example_count")  # which are the same of all


def columns(outcomes: Sequence[CandidateOutcome], metric: str) -> list[str]:
    """The metrics that a table shows, the one that decides first."""
    names = dict.fromkeys(name for each in outcomes for name in each.metrics or {})
    others = [name for name in names if name not in (metric, *COUNTS)]
    return [*([metric] if metric in names else []), *others[:SHOWN]]


def cells(each: CandidateOutcome, names: Sequence[str]) -> list[str]:
    """A candidate's metrics, the size of its edge model, and its latency, for people."""
    values = each.metrics or {}
    found = [number(values[name]) if name in values else "–" for name in names]
    latency = "–" if each.p99_ms is None else f"{each.p99_ms:.3g} ms"
    return [*found, "–" if each.size is None else size(each.size), latency]


def differing(outcomes: Sequence[CandidateOutcome]) -> dict[str, str]:
    """What each candidate was given otherwise than another, in a line, by name."""
    given: dict[str, Mapping[str, Any]] = {each.name: each.differs or {} for each in outcomes}
    keys = dict.fromkeys(key for values in given.values() for key in values)
    unlike = [key for key in keys if len({str(values.get(key)) for values in given.values()}) > 1]
    return {
        name: ", ".join(f"{key} {_short(values.get(key))}" for key in unlike)
        for name, values in given.items()
    }


def section(
    outcomes: Sequence[CandidateOutcome], metric: str, rule: str, title: str = "Candidates"
) -> list[Section]:
    """A table of candidates; nothing where there are none."""
    if not outcomes:
        return []
    names, own = columns(outcomes, metric), differing(outcomes)
    rows = [
        (
            badge(each.state, True) if each.state == CHOSEN else each.state,
            each.name,
            *cells(each, names),
            own[each.name],
            " ".join(each.reasons),
        )
        for each in outcomes
    ]
    head = ("", "candidate", *names, "edge model", "p99", "its own", "why")
    return [Section(title, table(head, rows), rule)]


def _short(value: Any) -> str:
    text = str(value)
    text = text.partition("#sha256=")[0]
    return text if len(text) <= 60 else f"{text[:60]}…"
