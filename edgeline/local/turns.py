"""Which record is a task's, and what its results tell of it when they are taken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeline.local.cache import KeptResults, Reuse, bound
from edgeline.local.rounds import Rounds
from edgeline.local.tasks import TaskResult


class Turn(threading.local):
    """Of the thread that runs a task: its record, and why it runs again."""

    result: TaskResult | None = None
    again: str = ""


def log_of(folder: Path, result: TaskResult) -> Path:
    """Where a task's output goes."""
    return folder / "logs" / f"{result.task.component}.log"


def results_of(
    rounds: Rounds,
    folder: Path,
    reuse: Reuse,
    on_change: Callable[[TaskResult], None],
    turn: Turn,
) -> type[KeptResults]:
    """The class of the cache of a run, which keeps the records of tasks that it has the results of.

    Args:
        rounds: the records.
        folder: of the run.
        turn: told why a task runs again, and asked for the one that has just ended.
    """
    taking = threading.Lock()

    def on_hit(component: str, outputs: dict[str, Any], cost: dict[str, Any], called: str) -> None:
        place = next((value.uri for value in outputs.values() if hasattr(value, "uri")), "")
        with taking:  # rounds of a loop, side by side
            result = rounds.free_record_of(component, place, called)
            result.state = "cached"
        result.seconds = cost.get("seconds", 0.0)
        result.cpu_seconds = cost.get("cpu_seconds", 0.0)
        result.peak_memory = cost.get("peak_memory", 0)
        result.began = cost.get("began", "")
        log = log_of(folder, result)
        result.log = log if cost and log.is_file() else None  # an attempt's before this one
        result.outputs = {
            name: {"uri": value.uri, "metadata": dict(value.metadata)}
            if hasattr(value, "uri")
            else value
            for name, value in outputs.items()
        }
        on_change(result)

    def on_miss(component: str, why: str) -> None:  # noqa: ARG001
        turn.again = why

    def ended() -> TaskResult:
        assert turn.result
        return turn.result

    return bound(reuse, on_hit, on_miss, ended)
