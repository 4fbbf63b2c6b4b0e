"""What a run here changes in a pipeline before kfp.local runs it.

A compiled pipeline leaves the interfaces of our components to the images: a cluster's driver hands
a task what its place in the pipeline gives it; kfp.local gives it the artifacts that its component
declares, and no others. And kfp.local keeps nothing of a task whose author switched the cache off,
which a run that is gone on with would do twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from edgeline.components import catalogue
from edgeline.kubeflow import face, handed

# which a compiled pipeline gives instead of single parameters
_SETTINGS = pipeline_spec_pb2.ComponentInputsSpec.ParameterSpec(
    parameter_type=pipeline_spec_pb2.ParameterType.STRUCT, is_optional=True
)


def complete(spec: Any) -> None:
    """Put this installation's interfaces into a `PipelineSpec` that names its faces, in place.

    A face of another version is left as it is: its task says so itself.
    """
    dags = (spec.root.dag, *(each.dag for each in spec.components.values()))
    handed_to = {
        task.component_ref.name
        for dag in dags
        for task in dag.tasks.values()
        if handed.PARAMETER in task.inputs.parameters
    }
    executors = json_format.MessageToDict(spec.deployment_spec).get("executors", {})
    for name, component in spec.components.items():
        container = executors.get(component.executor_label, {}).get("container", {})
        named = face.of_container(container)
        bare = face.source(named.name) if named else None
        if named is None or bare is None or face.digest(bare) != named.digest:
            continue
        (own,) = catalogue.load(named.name).pipeline_spec.components.values()
        component.input_definitions.CopyFrom(own.input_definitions)
        component.output_definitions.CopyFrom(own.output_definitions)
        if name in handed_to:  # kfp.local would give it the face's defaults, which count first
            for optional in face.optional(named.name):
                del component.input_definitions.parameters[optional]
            component.input_definitions.parameters[handed.PARAMETER].CopyFrom(_SETTINGS)


@contextlib.contextmanager
def all_kept(spec: Any) -> Iterator[frozenset[str]]:
    """Within it, kfp.local asks the cache for every task of a `PipelineSpec`, but exit handlers.

    Yields:
        the components of tasks that are not to be taken from another run.
    """
    switched = []
    for dag in (spec.root.dag, *(each.dag for each in spec.components.values())):
        for task in dag.tasks.values():
            policy = task.trigger_policy
            last = policy.strategy == policy.TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED
            if not task.caching_options.enable_cache and not last:
                switched.append(task)
    for task in switched:
        task.caching_options.enable_cache = True
    try:
        yield frozenset(task.component_ref.name.removeprefix("comp-") for task in switched)
    finally:
        for task in switched:
            task.caching_options.enable_cache = False
