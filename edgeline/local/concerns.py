"""What a person should look at in a run, by weight: errors, then warnings, then notes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeline.artifacts import outcomes, transformed
from edgeline.artifacts.folder import facts_of
from edgeline.artifacts.outcomes import TOLD
from edgeline.local.redaction import redacted
from edgeline.local.refusals import refusals
from edgeline.local.tasks import DONE, RunResult, TaskResult

Weight = Literal["error", "warning", "note"]
WEIGHTS: tuple[Weight, ...] = ("error", "warning", "note")
SHOWN = 5  # of one kind of one task; its report has the others


@dataclass(frozen=True)
class Concern:
    """A sentence about a task; `task` is empty where it is about the run as a whole."""

    weight: Weight
    task: str
    sentence: str


def of(result: RunResult) -> list[Concern]:
    """All there is, the heaviest first, and otherwise in the order of the tasks."""
    found = list(dict.fromkeys(_concerns(result)))
    return sorted(found, key=lambda each: WEIGHTS.index(each.weight))


def _concerns(result: RunResult) -> Iterator[Concern]:
    if result.error:
        yield Concern("error", "", redacted(result.error))
    for name, task in result.tasks.items():
        if task.state == "failed":
            yield Concern("error", name, redacted(task.error) or "failed without a word")
    for refusal in refusals(result.tasks):
        refused, _, sentence = refusal.partition(": ")
        yield Concern("error", refused, redacted(sentence))
    for name, task in result.tasks.items():
        if task.state in DONE:
            yield from _of_task(name, task)
        elif task.state == "canceled":
            yield Concern("warning", name, "It was ended before it was done.")


def _of_task(name: str, task: TaskResult) -> Iterator[Concern]:
    for output in task.artifacts.values():
        facts = facts_of(output["uri"])
        yield from _cut(name, "error", _anomalies(output, "ERROR"))
        warnings = [*_anomalies(output, "WARNING"), *_listed(facts, "warnings")]
        if why := transformed.sentence(facts.get("takes", ""), facts):
            warnings.append(why)
        warnings += [each.sentence for each in outcomes.of(facts) if each.state == TOLD]
        yield from _cut(name, "warning", warnings)
        if not _anomalies(output, "WARNING"):  # whose notes only count them
            yield from _cut(name, "note", _listed(facts, "notes"))


def _cut(task: str, weight: Weight, sentences: list[str]) -> Iterator[Concern]:
    for sentence in sentences[:SHOWN]:
        yield Concern(weight, task, _sentence(redacted(sentence)))
    if (more := len(sentences) - SHOWN) > 0:
        yield Concern(weight, task, f"{more} more are in its report.")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def _listed(facts: Mapping[str, Any], name: str) -> list[str]:
    found = facts.get(name)
    return list(map(str, found)) if isinstance(found, (list, tuple)) else []


def _anomalies(output: Mapping[str, Any], severity: str) -> list[str]:
    """What validate found wrong with the data; nothing of another artifact."""
    try:
        told = json.loads((Path(str(output["uri"])) / "anomalies.json").read_text("utf-8"))
        return [str(each["sentence"]) for each in told["anomalies"] if each["severity"] == severity]
    except (OSError, ValueError, LookupError, TypeError):
        return []
