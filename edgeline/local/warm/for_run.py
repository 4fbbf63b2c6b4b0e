"""The warm processes of a run: taken when a task first needs one, or before."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.local.tasks import TaskResult
from edgeline.local.warm.stages import COMPONENT_STAGE

if TYPE_CHECKING:
    from edgeline.local.warm.running import Warm

LOG = "warm.log"  # in the run's folder


def is_supported() -> bool:
    """Whether a process may fork after its imports here (not on macOS or Windows)."""
    return sys.platform == "linux"


def stage_of(component: str) -> str | None:
    """The warm process that a component's task is forked from, if any."""
    own_name = re.sub(r"-\d+$", "", component)  # a second task of a component has a number
    return COMPONENT_STAGE.get(own_name) if is_supported() else None


class ForRun:
    """A context manager, by which warm processes are given back; no process is taken before
    `begin` or `start`."""

    def __init__(self, tasks: Mapping[str, TaskResult], folder: Path) -> None:
        """
        Args:
            tasks: of the run, as they are from time to time.
            folder: of the run.
        """
        self._tasks, self._folder = tasks, folder
        self._stack = contextlib.ExitStack()
        self._starting = threading.Lock()
        self._warm: Warm | None = None

    def __enter__(self) -> ForRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self) -> None:
        """Import ahead what the run's tasks will need, if anything."""
        if any(map(stage_of, self._tasks)):
            self.start()

    def start(self) -> Warm:
        """The warm processes, for the tasks that are left now."""
        with self._starting:  # tasks side by side
            if self._warm is None:
                from edgeline.local.warm.running import Warm  # not where it is not supported

                left = [name for name, task in self._tasks.items() if task.state != "cached"]
                stages = list(filter(None, map(stage_of, left)))
                self._warm = self._stack.enter_context(Warm(stages, self._folder / LOG))
            return self._warm
