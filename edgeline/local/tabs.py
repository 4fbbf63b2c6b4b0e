"""A tab for each task of a run: what it found, its report, its log, its artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgeline.local import links
from edgeline.local.concerns import Concern
from edgeline.local.progress import facts, output_size
from edgeline.local.redaction import redacted
from edgeline.local.tasks import DONE, RunResult, TaskResult
from edgeline.reports import report
from edgeline.reports.document import fill

LAST_LINES = 40  # of the log of a task that failed
MOST_READ = 200_000  # bytes of a log
MOST_SHOWN = 400  # characters of an output


def target(name: str) -> str:
    """The fragment that shows a task's tab."""
    return f"task-{name}"


def draw(result: RunResult, found: Sequence[Concern]) -> list[Markup]:
    """The tabs, in the order of the tasks.

    Args:
        found: what is to be looked at in the run.
    """
    return [_tab(result, name, task, found) for name, task in result.tasks.items()]


def table(result: RunResult) -> Markup:
    """The tasks in a table, each with a link to its tab."""
    rows = [
        (
            Markup('<a href="#{}">{}</a>').format(target(name), name),
            state(task),
            f"{task.seconds:.1f} s" if task.seconds else None,
            report.size(task.peak_memory) if task.peak_memory else None,
            report.size(output_size(task)) if task.artifacts else None,
            told(task, result),
        )
        for name, task in result.tasks.items()
    ]
    return report.table(["task", "state", "time", "peak memory", "output", "found"], rows)


def state(task: TaskResult) -> Markup:
    """A task's state as a badge."""
    kinds = {"failed": "bad", "skipped": "warn", "canceled": "warn", "running": "info"}
    kind = "good" if task.state in DONE else kinds.get(task.state, "plain")
    return Markup('<span class="badge {}">{}</span>').format(kind, task.state)


def told(task: TaskResult, result: RunResult) -> str:
    """What a task is for, where others of its component are too, and what it found."""
    return ": ".join(filter(None, (task.task.title, redacted(facts(task, result.tasks)))))


def _tab(result: RunResult, name: str, task: TaskResult, found: Sequence[Concern]) -> Markup:
    pages = links.reports(result, name, task)
    log = task.log if task.log and task.log.is_file() else None
    return fill(
        "edgeline.local",
        "tab.html",
        id=target(name),
        name=name,
        title=task.task.title,
        state=state(task),
        facts=_facts(task),
        told=redacted(facts(task, result.tasks)),
        again=task.again,
        concerns=[each for each in found if each.task == name and each.weight != "error"],
        reports=pages,
        log=links.link(result.folder, log) if log else "",
        tail=redacted(_tail(log)) if log and task.state == "failed" else "",
        outputs=_outputs(result.folder, task),
        waits=task.state in ("waiting", "running"),
    )


def _facts(task: TaskResult) -> list[tuple[str, str]]:
    rows = [
        ("began", task.began),
        ("time", f"{task.seconds:.1f} s" if task.seconds else ""),
        ("CPU time", f"{task.cpu_seconds:.1f} s" if task.cpu_seconds else ""),
        ("peak memory", report.size(task.peak_memory) if task.peak_memory else ""),
        ("output", report.size(output_size(task)) if task.artifacts else ""),
    ]
    return [row for row in rows if row[1]]


def _outputs(folder: Path, task: TaskResult) -> Markup | None:
    """Artifacts with their places, then values; None where there is none."""
    rows: list[tuple[object, ...]] = []
    for name, artifact in task.artifacts.items():
        place = links.link(folder, artifact["uri"])
        shown = _inside(folder, str(artifact["uri"]))
        cell = Markup('<a href="{}">{}</a>').format(place, shown) if place else shown
        rows.append((name, cell, _metadata(artifact)))
    for name, value in redacted(
        {key: each for key, each in task.outputs.items() if key not in task.artifacts}
    ).items():
        text = str(value)
        rows.append((name, text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…", ""))
    return report.table(["output", "value", "metadata"], rows) if rows else None


def _metadata(artifact: Mapping[str, Any]) -> str:
    known = {key: each for key, each in artifact["metadata"].items() if _is_plain(each)}
    return ", ".join(f"{key} {_short(each)}" for key, each in redacted(known).items())


def _is_plain(value: object) -> bool:
    return isinstance(value, (str, int, float)) and value != ""


def _short(value: object) -> str:
    text = report.number(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _inside(folder: Path, uri: str) -> str:
    """A place below the run's folder without that."""
    path = Path(uri)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else redacted(uri)


def _tail(log: Path) -> str:
    with open(log, "rb") as stream:
        stream.seek(max(log.stat().st_size - MOST_READ, 0))
        lines = stream.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-LAST_LINES:])
