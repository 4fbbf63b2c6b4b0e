"""What is collected of a loop over nothing.

On a cluster the driver of the task that takes a `dsl.Collected` of such a loop ends the run, and
kfp.local 2.17 ends in a traceback. So a run here ends too, in a sentence.
"""

from __future__ import annotations

from typing import Any

from kfp.local.io import IOStore

from edgeline.errors import EdgelineError
from edgeline.formats.names import CHANNEL

LOOP = "for-loop-"  # how kfp's compiler names loops

_get = IOStore.get_task_output


def get_task_output(store: Any, task: str, key: str) -> Any:
    """An output of a task, as kfp itself finds it.

    Raises:
        EdgelineError: it is to be collected of a loop that had nothing to go through.
    """
    try:
        return _get(store, task, key)
    except ValueError:
        if not task.startswith(LOOP):
            raise
        raise EdgelineError(
            f"dsl.Collected takes {key.removeprefix(CHANNEL)} of the loop {task}, "
            "which had nothing to go through: Kubeflow Pipelines ends a run there. Put the loop "
            "and the task that collects into a dsl.If on a task's bool output, such as "
            "has_targets of the component plan."
        ) from None
