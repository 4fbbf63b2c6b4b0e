"""Conditions on named outputs, which kfp.local 2.17 takes as false.

It finds `analyze-Output` (the output of a component that returns one value) but not
`analyze-blessed`: a condition on a named output silently skips what stands below it.
"""

from __future__ import annotations

from typing import Any

from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator

from edgeline.formats.names import CHANNEL

_resolve = ConditionEvaluator._resolve_pipeline_channel


def resolve(reference: str, store: Any) -> Any:
    """The value of `[pipelinechannel--]<task>-<output>`, or what kfp itself finds."""
    wanted = reference.removeprefix(CHANNEL)
    scope = store
    while scope is not None:  # outwards through the enclosing conditions
        for task, outputs in scope._task_output_data.items():
            for name, value in outputs.items():
                if f"{task}-{name}" == wanted:
                    return value
        scope = scope._parent
    return _resolve(reference, store)
