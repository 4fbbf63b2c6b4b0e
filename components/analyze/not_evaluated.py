"""The evaluation of a model that ended its process on rows, or whose baseline did: not blessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgeline import artifacts
from edgeline.artifacts import Artifact, examples
from edgeline.artifacts.requirements import TrendRequirement
from edgeline.components.analyze import published
from edgeline.components.analyze.predict import ModelEndedError
from edgeline.components.analyze.published import Baseline
from edgeline.reports import report as html
from edgeline.reports.report import Fact, Section
from edgeline.runtimes import original

SCHEMA = "evaluation/v1"


def reason(
    ended: ModelEndedError, before: Baseline, trend: TrendRequirement | None, scratch: Path
) -> str:
    """What happened, with models that were fetched into `scratch` under the names they have."""
    sentence = str(ended)
    if before.path:
        sentence = sentence.replace(before.path, before.words)
    if trend:
        sentence = sentence.replace(str(scratch), trend.versions_of.rstrip("/"))
    return sentence


def write(
    evaluation_path: str,
    page: str,
    reason: str,
    rows: Artifact,
    split: str,
    model: Artifact,
    before: Baseline,
) -> dict[str, Any]:
    """Write the `evaluation/v1` folder, which has a reason and no metric, and the page.

    Args:
        rows: `examples/v1`, of which `split` was to be evaluated.

    Returns:
        The artifact's metadata.
    """
    facts: dict[str, Any] = {
        "blessed": False,
        "crashed": reason,
        "notes": [],
        "warnings": [],
        "rows": examples.splits(rows)[split],
        "split": split,
        "task": model.metadata["task"],
        "slices": 0,
        "metrics": {},
        "model_digest": model.digest,
        "baseline_digest": original.read(before.path).digest if before.path else None,
    }
    if before.told:
        facts[published.KEY] = dict(before.told)
    with artifacts.writing(evaluation_path, SCHEMA) as draft:
        draft.metadata |= facts
        verdict = {"blessed": False, "failures": [reason], "notes": [], "warnings": []}
        artifacts.write_json(draft.path / "validation.json", verdict)
        measured: dict[str, Any] = {"rows": facts["rows"], "bounds": {}, "slices": []}
        artifacts.write_json(draft.path / "metrics.json", measured)
    verdict_shown = html.badge("not blessed", False) + Markup("\n") + html.text(reason)
    told = [Fact("verdict", "not blessed", False), Fact("rows", html.number(facts["rows"]))]
    html.write(page, "Evaluation", told, [Section("Verdict", verdict_shown)])
    return {"edgeline_schema": SCHEMA, **facts}
