"""The page of a run: graph, tasks, and every task's own report, in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgeline.artifacts import candidates
from edgeline.local.graph import draw
from edgeline.local.parameters import flat
from edgeline.local.progress import facts, output_size
from edgeline.local.redaction import redacted
from edgeline.local.summary import choice, requirements
from edgeline.local.tasks import RunResult, TaskResult
from edgeline.reports import report
from edgeline.reports.candidates import section as candidates_section
from edgeline.reports.requirements import fact as requirements_fact
from edgeline.reports.requirements import section as requirements_section

PAGE = "index.html"
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
    """Write `index.html` into the run's folder and return its path.

    Args:
        head: the first part of the run's record; see `edgeline.local.heads`.
    """
    path, met = result.folder / PAGE, requirements(result.tasks)
    good = None if result.state == "running" else result.state == "succeeded"
    report.write(
        path,
        f"Run of {result.pipeline}",
        [
            report.Fact("result", _verdict(result), good),
            report.Fact("time", f"{result.seconds:.1f} s"),
            report.Fact("tasks", str(len(result.tasks))),
            *_bundle_facts(result),
            *requirements_fact(met),
        ],
        [
            report.Section("Pipeline", draw(result.tasks)),
            report.Section("Tasks", _tasks(result)),
            *_candidates(result),
            *requirements_section(met),
            report.Section("Parameters", report.table(["name", "value"], _values(head))),
            report.Section("What ran, and where", report.table(["", ""], surroundings_of(head))),
            *(_report_section(name, task) for name, task in result.tasks.items()),
        ],
    )
    return path


def _candidates(result: RunResult) -> list[report.Section]:
    found = choice(result.tasks)
    return candidates_section(candidates.of(found), found["metric"], found["rule"]) if found else []


def _verdict(result: RunResult) -> str:
    if result.state == "running":
        return "not ended yet"
    if result.state != "succeeded":
        return result.state
    return "published" if _published(result) else "done"


def _bundle_facts(result: RunResult) -> list[report.Fact]:
    return [report.Fact("bundle", f"version {version}") for version in _published(result)[:1]]


def _published(result: RunResult) -> list[int]:
    """Versions of what was published; which of its tasks did so depends on the alternative."""
    return [
        task.outputs["version"]
        for name, task in result.tasks.items()
        if name.partition("-")[0] == "publish" and "uri" in task.outputs
    ]


def _tasks(result: RunResult) -> Markup:
    rows = [
        (
            Markup('<a href="#{0}">{0}</a>').format(name),
            report.badge(task.state, task.state in ("succeeded", "cached")),
            f"{task.seconds:.1f} s" if task.seconds else None,
            report.size(task.peak_memory) if task.peak_memory else None,
            report.size(output_size(task)) if task.artifacts else None,
            ": ".join(filter(None, (task.task.title, redacted(facts(task, result.tasks))))),
        )
        for name, task in result.tasks.items()
    ]
    return report.table(["task", "state", "time", "peak memory", "output", "found"], rows)


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


def _report_section(name: str, task: TaskResult) -> report.Section:
    return report.Section(name, Markup('<div id="{}"></div>').format(name) + _frame(task))


def _frame(task: TaskResult) -> Markup:
    for value in task.artifacts.values():
        uri = Path(str(value["uri"]))
        if uri.is_file() and (text := uri.read_text(errors="replace")).startswith("<!doctype html"):
            return report.framed(text)
    return report.text(redacted(task.error) or f"{task.state}, no report")
