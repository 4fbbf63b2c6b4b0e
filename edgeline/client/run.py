"""A run, wherever it runs: its tasks, their numbers, their reports."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeline.errors import EdgelineError
from edgeline.kubeflow.states import RunState, TaskState
from edgeline.local.summary import metrics
from edgeline.local.tasks import TaskResult


@dataclass(frozen=True)
class Report:
    """A task's HTML report; a notebook shows it, in a frame that runs no script."""

    task: str
    content: str

    def save(self, path: str | Path) -> Path:
        """Write it to a file."""
        path = Path(path)
        path.write_text(self.content, "utf-8")
        return path

    def __repr__(self) -> str:
        return f"Report of {self.task} ({len(self.content):,} characters)"

    def _repr_html_(self) -> str:
        return (
            '<iframe sandbox="" style="width:100%;height:70vh;border:1px solid #ddd" '
            f'srcdoc="{html.escape(self.content)}"></iframe>'
        )


class Reports(dict[str, Report]):
    """Reports by task; a notebook shows them all, closed, to be opened one by one."""

    def _repr_html_(self) -> str:
        return "".join(
            f"<details><summary>{html.escape(task)}</summary>{report._repr_html_()}</details>"
            for task, report in self.items()
        )

    def __repr__(self) -> str:
        return f"Reports of {', '.join(self) or 'no task'}"


def only_bundle(run: str, bundles: Mapping[str, str], why_none: str) -> str:
    """The place of the only bundle of a run.

    Args:
        run: in words.
        bundles: places by name.
        why_none: a sentence, for where there is none.

    Raises:
        EdgelineError: there is none, or there are several.
    """
    if not bundles:
        raise EdgelineError(f"{run} has published no bundle. {why_none}")
    if len(bundles) > 1:
        raise EdgelineError(
            f"{run} has published {', '.join(sorted(bundles))}: take one of `bundles`."
        )
    return next(iter(bundles.values()))


class Run(Protocol):
    """What `Client.submit` gives.

    Attributes:
        id: the run's folder, or its identifier on the server.
        state: how far it is, or how it ended.
        tasks: by component.
        metrics: by task, the numbers it found.
        reports: by task.
        bundles: by name, where what was published is: a path or an address, for `edgeline.load`.
        bundle: where the only one is.
    """

    @property
    def id(self) -> str: ...
    @property
    def state(self) -> RunState: ...
    @property
    def tasks(self) -> Mapping[str, TaskResult]: ...
    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]: ...
    @property
    def reports(self) -> Mapping[str, Report]: ...
    @property
    def bundles(self) -> Mapping[str, str]: ...
    @property
    def bundle(self) -> str: ...
    def wait(self, timeout: float | None = None) -> Run: ...
    def _repr_html_(self) -> str: ...


COLOURS: dict[TaskState, str] = {
    "succeeded": "#15803d",
    "cached": "#0e7490",
    "failed": "#b91c1c",
    "canceled": "#b45309",
    "skipped": "#b45309",
    "running": "#1d4ed8",
}


def table(title: str, state: str, tasks: Mapping[str, TaskResult], link: str = "") -> str:
    """A run as HTML: a row a task, with its state, time and what it found."""
    rows = "".join(
        f'<tr><td style="text-align:left">{html.escape(name)}</td>'
        f'<td style="text-align:left;color:{COLOURS.get(task.state, "inherit")}">{task.state}</td>'
        f"<td>{f'{task.seconds:.1f} s' if task.seconds else ''}</td>"
        f'<td style="text-align:left">{html.escape(task.error or numbers(task))}</td></tr>'
        for name, task in tasks.items()
    )
    name = f'<a href="{html.escape(link)}">{html.escape(title)}</a>' if link else html.escape(title)
    return f"<div><b>{name}</b>: {state}</div><table>{rows}</table>"


def numbers(task: TaskResult) -> str:
    """The first numbers of a task in words."""
    found = list(metrics(task).items())[:4]
    return " · ".join(f"{name} {value:.4g}" for name, value in found)
