"""The page of a run: graph, tasks, and every task's own report, in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgeline.components.settings.objects import PREFIX
from edgeline.local.graph import draw
from edgeline.local.progress import facts, output_size
from edgeline.local.tasks import RunResult, TaskResult
from edgeline.reports import report


def write_page(result: RunResult, arguments: Mapping[str, Any]) -> Path:
    """Write `index.html` into the run's folder and return its path."""
    path = result.folder / "index.html"
    good = not result.failed and not result.skipped
    report.write(
        path,
        f"Run of {result.pipeline}",
        [
            report.Fact("result", _verdict(result), good),
            report.Fact("time", f"{result.seconds:.1f} s"),
            report.Fact("tasks", str(len(result.tasks))),
            *_bundle_facts(result),
        ],
        [
            report.Section("Pipeline", draw(result.tasks)),
            report.Section("Tasks", _tasks(result)),
            report.Section("Parameters", report.table(["name", "value"], _shown(arguments))),
            *(_report_section(name, task) for name, task in result.tasks.items()),
        ],
    )
    return path


def _verdict(result: RunResult) -> str:
    if result.failed:
        return "failed"
    return "stopped" if result.skipped else "published" if _published(result) else "done"


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
            ": ".join(filter(None, (task.task.title, facts(task, result.tasks)))),
        )
        for name, task in result.tasks.items()
    ]
    return report.table(["task", "state", "time", "peak memory", "output", "found"], rows)


def _shown(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Values by name; of an object each field."""
    rows: list[tuple[str, str]] = []
    for name, value in arguments.items():
        fields = value if name.startswith(PREFIX) and isinstance(value, dict) else {"": value}
        called = name.removeprefix(PREFIX)
        rows += [(f"{called}.{key}".rstrip("."), str(each)) for key, each in fields.items()]
    return rows


def _report_section(name: str, task: TaskResult) -> report.Section:
    return report.Section(name, Markup('<div id="{}"></div>').format(name) + _frame(task))


def _frame(task: TaskResult) -> Markup:
    for value in task.artifacts.values():
        uri = Path(str(value["uri"]))
        if uri.is_file() and (text := uri.read_text(errors="replace")).startswith("<!doctype html"):
            # sandboxed, as the Kubeflow UI shows it
            return Markup(
                '<details><summary>report</summary><iframe sandbox="" loading="lazy" '
                'style="width:100%;height:70vh;border:1px solid #e2e8f0;border-radius:.6rem" '
                'srcdoc="{}"></iframe></details>'
            ).format(text)
    return report.text(task.error or f"{task.state}, no report")
