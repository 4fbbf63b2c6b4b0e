"""The live table of a run: each task with its state, time and what it found."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from edgeline.artifacts import transformed
from edgeline.artifacts.folder import facts_of
from edgeline.kubeflow.states import TaskState
from edgeline.local.tasks import TaskResult
from edgeline.reports.report import number, size

MARKS: Mapping[TaskState, str] = {
    "waiting": "[dim]·[/]",
    "running": "[blue]›[/]",
    "succeeded": "[green]✔[/]",
    "cached": "[cyan]✔[/]",
    "failed": "[red]✘[/]",
    "canceled": "[yellow]✘[/]",
    "skipped": "[yellow]–[/]",
    "unknown": "[yellow]?[/]",
}


MOST = 10  # values that one task tells


class Progress:
    """Shows tasks as they go; on a terminal as a live table, else a line for each that ends."""

    def __init__(self, console: Console, names: list[str]) -> None:
        self.console = console
        self.tasks: dict[str, TaskResult | None] = dict.fromkeys(names)
        self.started: dict[str, float] = {}
        self.spinner = Spinner("dots")
        self.live = Live(
            get_renderable=self._table,
            console=console,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.console.is_terminal:
            self.live.__exit__(*error)

    def update(self, result: TaskResult) -> None:
        """Take note of a task that has started or ended."""
        name = result.task.component
        loop, bracket, _ = name.partition("[")
        if bracket:  # rounds stand for their loop's task
            self.tasks.pop(loop, None)
        self.tasks[name] = result
        if result.state == "running":
            self.started[name] = time.monotonic()
        elif not self.console.is_terminal and result.state != "skipped":  # the table tells
            self._print_line(name, result)

    def tell_skipped(self) -> None:
        """Lines for what was left out, and why, where no final table follows.

        Not for an alternative of what ran: there, nothing is missing.
        """
        if self.console.is_terminal:
            return  # they stand in the live table
        known = self._known()
        decided = {
            choice
            for result in known.values()
            if result.state != "skipped"
            for choice, _ in result.task.choices
        }
        missing = {
            name: result
            for name, result in known.items()
            if result.state == "skipped"
            and not any(choice in decided for choice, _ in result.task.choices)
        }
        for rows in _alike(missing):
            name, result = rows[0]
            if rows[1:]:
                name = f"{name} and {len(rows) - 1} more"
                result = replace(result, task=replace(result.task, title=""))
            self._print_line(name, result)

    def _print_line(self, name: str, result: TaskResult) -> None:
        told = _told(result, self._known())
        line = f"{MARKS[result.state]} {escape(f'{name:<12}')} {_time(result):>7}  {told}"
        self.console.print(line.rstrip(), soft_wrap=True)  # one line per task, for grep

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for name, result in self.tasks.items():
            state: TaskState = result.state if result else "waiting"
            if state == "running":
                seconds = time.monotonic() - self.started[name]
                table.add_row(self.spinner, f"[bold]{escape(name)}[/]", f"{seconds:.1f} s", "")
            else:
                known = result and state != "waiting"
                table.add_row(
                    MARKS[state],
                    escape(name) if known else f"[dim]{escape(name)}[/]",
                    _time(result) if result and known else "",
                    _told(result, self._known()) if result and known else "",
                )
        return table

    def _known(self) -> dict[str, TaskResult]:
        return {name: result for name, result in self.tasks.items() if result}


def final_table(results: Mapping[str, TaskResult]) -> Table:
    """Tasks with times, peak memory, sizes of what they made, and what they found."""
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in ("task", "state"):
        table.add_column(column)
    for column in ("time", "memory", "output"):
        table.add_column(column, justify="right")
    table.add_column("found", overflow="fold")  # a path is not cut
    for rows in _alike(results):
        name, result = rows[0]
        table.add_row(
            escape(f"{name} and {len(rows) - 1} more" if rows[1:] else name),
            f"{MARKS[result.state]} {result.state}",
            _time(result) if result.seconds else "",
            size(result.peak_memory) if result.peak_memory else "",
            size(output_size(result)) if result.artifacts else "",
            _told(result, results),
        )
    return table


def _alike(results: Mapping[str, TaskResult]) -> Iterator[list[tuple[str, TaskResult]]]:
    """Each task of its own, but those that were skipped for one reason, one after the other."""

    def reason(entry: tuple[str, TaskResult]) -> str:
        name, result = entry
        return facts(result, results) if result.state == "skipped" else name

    for _, rows in itertools.groupby(results.items(), reason):
        yield list(rows)


def facts(result: TaskResult, results: Mapping[str, TaskResult]) -> str:
    """The few numbers of a task that a person wants to see at once, or why there are none.

    Args:
        result: of the task.
        results: of all tasks of the run.
    """
    if result.state == "failed":
        return result.error
    if result.state == "canceled":
        return "ended before it was done"
    if result.state == "skipped":
        return f"not run: {_why_skipped(result, results)}"
    values = result.outputs.keys() - result.artifacts.keys()
    if len(values) > MOST:
        return f"{len(values)} values"
    found: list[str] = []
    notes: list[str] = []
    for name, value in result.outputs.items():
        if name in values:
            found.append(f"{name} {value}")
            continue
        told = facts_of(value["uri"])
        if name == "candidate" and "state" in told:
            found.insert(0, f"{told['name']} {told['state']}")
        if isinstance(splits := told.get("splits"), dict):
            found += [f"{split} {int(entry['rows']):,}" for split, entry in splits.items()]
        if why := transformed.sentence(told.get("takes", ""), told):
            notes = [*notes, why]
        if isinstance(warnings := told.get("warnings"), list):
            notes = [*notes, *warnings]
        # what is not checked; that no threshold was set; what is weighted
        if name in ("anomalies", "evaluation", "model", "verification"):
            notes = [*notes, *told.get("notes", [])]
        if name.endswith("metrics"):
            metadata = value.get("metadata", {})
            numbers = {k: v for k, v in metadata.items() if isinstance(v, (int, float))}
            found += [f"{key} {number(value)}" for key, value in list(numbers.items())[:6]]
    return " · ".join([*found, *notes])


def _why_skipped(result: TaskResult, results: Mapping[str, TaskResult]) -> str:
    failed = [name for name, other in results.items() if other.state == "failed"]
    if failed:  # ends the run, so whether a condition held is not known
        return f"{failed[0]} failed"
    if any(other.state == "canceled" for other in results.values()):  # nor there
        return "the run was cancelled"
    condition = result.task.condition
    return f"{condition} is false" if condition else "a task before it was skipped"


def _coloured(result: TaskResult, results: Mapping[str, TaskResult]) -> str:
    colour = {"failed": "red", "skipped": "yellow"}.get(result.state)
    plain = escape(facts(result, results))
    return f"[{colour}]{plain}[/]" if colour else plain


def output_size(result: TaskResult) -> int:
    """Bytes of all artifacts of a task that lie on this machine."""
    from pathlib import Path

    total = 0
    for value in result.artifacts.values():
        if (path := Path(str(value["uri"]))).exists():
            files = path.rglob("*") if path.is_dir() else [path]
            total += sum(file.stat().st_size for file in files if file.is_file())
    return total


def _told(result: TaskResult, results: Mapping[str, TaskResult]) -> str:
    """What tells a task from others of its component, and what it found."""
    found = _coloured(result, results)
    if not result.task.title:
        return found
    title = escape(result.task.title)
    return f"[dim]{title}:[/] {found}" if found else f"[dim]{title}[/]"


def _time(result: TaskResult) -> str:
    return f"{result.seconds:.1f} s" if result.state in ("succeeded", "failed") else result.state
