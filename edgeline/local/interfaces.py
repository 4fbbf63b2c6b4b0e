"""What a compiled pipeline leaves to the images, for kfp.local: the interfaces of our components.

A cluster's driver hands a task what its place in the pipeline gives it; kfp.local gives it the
artifacts that its component declares, and no others.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from edgeline.components import catalogue
from edgeline.kubeflow import face


def complete(spec: Any) -> None:
    """Put this installation's interfaces into a `PipelineSpec` that names its faces, in place.

    A face of another version is left as it is: its task says so itself.
    """
    executors = json_format.MessageToDict(spec.deployment_spec).get("executors", {})
    for component in spec.components.values():
        container = executors.get(component.executor_label, {}).get("container", {})
        named = face.of_container(container)
        bare = face.source(named.name) if named else None
        if named is None or bare is None or face.digest(bare) != named.digest:
            continue
        (own,) = catalogue.load(named.name).pipeline_spec.components.values()
        component.input_definitions.CopyFrom(own.input_definitions)
        component.output_definitions.CopyFrom(own.output_definitions)
