"""What a pipeline itself holds that Kubeflow cannot pass."""

from __future__ import annotations

import json
import math
from typing import Any

from edgeline.errors import UsageError


def check_constants(definition: Any) -> None:
    """Refuse a pipeline that itself holds null, NaN or infinity: as a constant or for a loop.

    kfp's compiler refuses null in a Python file; a compiled one is anyone's.

    Raises:
        UsageError: it names the task and its input, or the component and its default.
    """
    spec = definition.pipeline_spec
    pipeline = spec.pipeline_info.name
    for dag in (spec.root.dag, *(each.dag for each in spec.components.values())):
        for task, entry in dag.tasks.items():
            for name, given in entry.inputs.parameters.items():
                if what := unfit(given.runtime_value.constant):
                    raise UsageError(
                        f"Pipeline {pipeline} gives its task {task} {what} as {name}, which "
                        "Kubeflow cannot pass: give another value."
                    )
            if what := _unfit_items(entry.parameter_iterator.items.raw):
                raise UsageError(
                    f"Loop {task} of pipeline {pipeline} goes over {what}, which Kubeflow cannot "
                    "pass: give other values."
                )
    for component, each in spec.components.items():
        for name, known in each.input_definitions.parameters.items():
            if what := unfit(known.default_value):
                raise UsageError(
                    f"The default of input {name} of component "
                    f"{component.removeprefix('comp-')} is or contains {what}, which Kubeflow "
                    "cannot pass: change it."
                )


def unfit(value: Any) -> str:
    """What a protobuf Value contains that Kubeflow cannot pass; "" where it contains no such."""
    kind = value.WhichOneof("kind")
    if kind == "null_value":
        return "null"
    if kind == "number_value" and not math.isfinite(value.number_value):
        return "NaN or infinity"
    if kind == "list_value":
        return next(filter(None, map(unfit, value.list_value.values)), "")
    if kind == "struct_value":
        return next(filter(None, map(unfit, value.struct_value.fields.values())), "")
    return ""


def _unfit_items(text: str) -> str:
    """The same of a loop's items, which KFP keeps as JSON; "" where that is none."""
    from google.protobuf import struct_pb2

    items = struct_pb2.Value()
    try:
        items.list_value.extend(json.loads(text or "[]"))
    except (TypeError, ValueError):
        return ""  # not ours to say
    return unfit(items)
