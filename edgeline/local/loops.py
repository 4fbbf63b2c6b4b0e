"""What is collected of a loop over nothing, which kfp.local 2.17 takes for a missing task.

`dsl.Collected` of a `dsl.ParallelFor` without items is an empty list.
"""

from __future__ import annotations

from typing import Any

from kfp.local.io import IOStore

LOOP = "for-loop-"  # how kfp's compiler names loops

_get = IOStore.get_task_output


def get_task_output(store: Any, task: str, key: str) -> Any:
    """An output of a task, as kfp itself finds it; of a loop that left none, an empty list."""
    try:
        return _get(store, task, key)
    except ValueError:
        if task.startswith(LOOP):
            return []
        raise
