"""The page of a run, `index.html` in its folder: the answers first, then a tab for each task.

Tabs are links to a part of the page, which the style shows, so they work without a script. The
tasks' reports are files beside it, shown in frames whose origin is nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline.artifacts import candidates, write_text
from edgeline.local import concerns, made, overview, tabs
from edgeline.local.graph import draw
from edgeline.local.parameters import flat
from edgeline.local.record import now
from edgeline.local.summary import choice, requirements
from edgeline.local.tasks import RunResult
from edgeline.reports import report
from edgeline.reports.candidates import section as candidates_section
from edgeline.reports.document import HERE, document, fill, text
from edgeline.reports.requirements import section as requirements_section

PAGE = "index.html"
OWN = "edgeline.local"
RELOAD = 5  # seconds, of a run that goes on
FRAMES = "'self' file:"  # a page that was opened from a disk has no origin that 'self' could mean
SHOWN_PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-transform",
    "tensorflow-model-analysis",
    "apache-beam",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "kfp",
    "numpy",
    "pyarrow",
)
GB = 1e9


def write_page(result: RunResult, head: Mapping[str, Any]) -> Path:
    """Write `index.html` into the run's folder, and the tasks' reports beside it; its path.

    Args:
        head: the first part of the run's record; see `edgeline.local.heads`.
    """
    path, running = result.folder / PAGE, result.state == "running"
    body = fill(
        OWN,
        "run.html",
        pipeline=result.pipeline,
        name=result.folder.name,
        verdict=_verdict(result),
        kind=_kind(result),
        time=f"{result.seconds:.1f} s",
        running=running,
        now=now(),
        reload=RELOAD,
        tasks=[{"name": name, "state": task.state} for name, task in result.tasks.items()],
        tabs=tabs.draw(result, concerns.of(result)),
        overview=overview.draw(result, head),
        sections=_sections(result),
        parameters=report.table(["name", "value"], _values(head)),
        surroundings=report.table(["", ""], surroundings_of(head)),
    )
    write_text(
        path,
        document(
            f"{result.pipeline}: {_verdict(result)}",
            body,
            text(HERE, "report.js"),
            text(OWN, "run.css"),
            FRAMES,
            RELOAD if running else 0,
        ),
    )
    return path


def _sections(result: RunResult) -> list[report.Section]:
    return [
        report.Section("Pipeline", draw(result.tasks)),
        *_candidates(result),
        *requirements_section(requirements(result.tasks)),
        report.Section("Tasks", tabs.table(result)),
    ]


def _candidates(result: RunResult) -> list[report.Section]:
    found = choice(result.tasks)
    return candidates_section(candidates.of(found), found["metric"], found["rule"]) if found else []


def _verdict(result: RunResult) -> str:
    if result.state != "succeeded":
        return result.state
    return "published" if made.bundles(result.tasks) else "done"


def _kind(result: RunResult) -> str:
    return {"succeeded": "good", "running": "info", "failed": "bad"}.get(result.state, "warn")


def _values(head: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in flat(head["parameters"]).items()]


def surroundings_of(head: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What ran, on what and when, as rows of a table.

    Args:
        head: the first part of a run's record.
    """
    host, packages = head["host"], head["packages"]
    known = [f"{name} {packages[name]}" for name in SHOWN_PACKAGES if name in packages]
    memory = f", {host['memory'] / GB:.0f} GB" if host["memory"] else ""
    rows = [
        (
            "pipeline",
            f"{head['source'] or head['pipeline']} (sha256 {head['pipeline_digest'][:12]})",
        ),
        ("edgeline", f"{head['edgeline']} (code {head['code'][:12]})"),
        ("packages", ", ".join(known)),
        (
            "machine",
            f"{host['name']}, {host['system']}, {host['machine']}, {host['cpus']} CPUs{memory}",
        ),
        ("Python", host["python"]),
        *((f"{name}, sha256", digest) for name, digest in head["pins"].items()),
    ]
    for number, attempt in enumerate(head["attempts"], 1):
        ended = f" to {attempt['ended']}, {attempt['state']}" if "ended" in attempt else ""
        changed = f"; changed: {', '.join(attempt['changed'])}" if attempt.get("changed") else ""
        again = f"; from {attempt['from']}" if attempt.get("from") else ""
        rows.append((f"attempt {number}", f"{attempt['started']}{ended}{again}{changed}"))
    return [row for row in rows if row[1]]
