"""The best approved candidate of a run, by its rule, and what became of all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import Artifact
from edgeline.artifacts.candidates import (
    APPROVED,
    CHOICE_SCHEMA,
    CHOSEN,
    FAILED,
    KEY,
    NOT_COMPARED,
    PARTS,
    SCHEMA,
    CandidateOutcome,
)
from edgeline.components.choose.rule import ChoiceRule
from edgeline.errors import EdgelineError
from edgeline.reports import report
from edgeline.reports.candidates import section
from edgeline.reports.report import Fact, Section


def choose(
    candidate_paths: Sequence[str],
    choice_path: str | Path,
    choice_report_path: str | Path,
    model_path: str,
    edge_model_path: str,
    evaluation_path: str,
    verification_path: str,
    rule: ChoiceRule,
) -> dict[str, Any]:
    """Choose one, copy its artifacts, and write a `choice/v1` folder and a page about all.

    Args:
        candidate_paths: `candidate/v1` folders, in any order.
        model_path, edge_model_path, evaluation_path, verification_path: where the artifacts of the
            chosen one go; nothing is written where none is approved.

    Returns:
        the metadata of the choice: `chosen` is its name or "", `rule` a sentence, `candidates` what
        became of each, the best first; and `schemas` by part of the chosen one.

    Raises:
        EdgelineError: no candidate is given, a folder is damaged, two candidates have one name, all
            candidates failed, or the approved ones have no metric to be chosen by.
    """
    found = {each.metadata["name"]: each for each in _read(candidate_paths)}
    given = [_outcome(each) for each in found.values()]
    approved = [each for each in given if each.state == APPROVED]
    if all(each.state == FAILED for each in given):
        first, more = given[0], len(given) - 1
        others = f" {more} more failed, too: see their reports." if more else ""
        raise EdgelineError(
            f"No candidate came through. {first.name}: {' '.join(first.reasons)}{others}"
        )
    metric = rule.metric_of(approved)
    ordered = rule.order(approved)
    chosen = ordered[0].name if ordered else ""
    ranked = [replace(each, state=CHOSEN if each.name == chosen else APPROVED) for each in ordered]
    known = {each.name for each in ranked}
    ranked += [
        replace(each, state=NOT_COMPARED, reasons=(f"it has no {metric} to be chosen by",))
        for each in approved
        if each.name not in known
    ]
    ranked += [each for each in given if each.state != APPROVED]
    metadata: dict[str, Any] = {
        "chosen": chosen,
        "metric": metric,
        "rule": rule.words(metric),
        KEY: [each.to_json() for each in ranked],
    }
    with artifacts.writing(choice_path, CHOICE_SCHEMA) as draft:
        draft.metadata |= metadata
    places = (model_path, edge_model_path, evaluation_path, verification_path)
    schemas = _copied(found[chosen], dict(zip(PARTS, places, strict=True))) if chosen else {}
    _write_page(choice_report_path, ranked, metadata)
    print(f"{chosen or 'No candidate'} is chosen. {metadata['rule']}", flush=True)
    return {"edgeline_schema": CHOICE_SCHEMA, **metadata, "schemas": schemas}


def _read(paths: Sequence[str]) -> list[Artifact]:
    if not paths:
        raise EdgelineError(
            "No candidate is given: connect dsl.Collected of the output candidate of the task "
            "train_candidate in its loop."
        )
    # what a loop made is collected in the order in which its rounds ended
    found = sorted(
        (artifacts.read(path, SCHEMA) for path in paths), key=lambda each: each.metadata["place"]
    )
    names = [each.metadata["name"] for each in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise EdgelineError(f"Two candidates are called {twice}: give each a name of its own.")
    return found


def _outcome(candidate: Artifact) -> CandidateOutcome:
    facts = candidate.metadata
    return CandidateOutcome(
        facts["name"],
        facts["state"],
        tuple(facts["reasons"]),
        facts["metrics"],
        facts["size"],
        facts["p99_ms"],
        {"module": facts["module"], "rows": facts["training_rows"], **facts["training"]},
    )


def _copied(chosen: Artifact, part_paths: Mapping[str, str]) -> dict[str, str]:
    """Put the artifacts of a candidate where the task's outputs go; their schemas by name."""
    for part in PARTS:
        output = Path(part_paths[part])
        shutil.rmtree(output, ignore_errors=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(chosen.path / part, output)
    return {part: artifacts.schema_of(part_paths[part]) for part in PARTS}


def _write_page(
    path: str | Path, ranked: Sequence[CandidateOutcome], metadata: Mapping[str, Any]
) -> None:
    chosen = metadata["chosen"]
    facts = [
        Fact("chosen", chosen or "none", bool(chosen)),
        Fact("approved", f"{sum(each.is_approved for each in ranked)} of {len(ranked)}"),
    ]
    told: list[Section] = section(ranked, metadata["metric"], metadata["rule"])
    report.write(path, "Candidates", facts, told)
