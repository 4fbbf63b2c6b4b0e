"""A compiled pipeline's file as a kfp pipeline.

kfp's own loader reads the file with PyYAML alone, and again whenever its pipeline is asked for.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.dsl import structures
from kfp.dsl.yaml_component import YamlComponent
from kfp.pipeline_spec import pipeline_spec_pb2

from edgeline.formats import plain_file, plain_yaml

DESCRIPTION = "# Description: "
GOES_ON = "#              "  # a description's further lines


class Package(YamlComponent):  # type: ignore[misc]
    """What `kfp.components.load_component_from_file` gives, read once."""

    def __init__(self, text: str, documents: list[Any]) -> None:
        pipeline, *platform = documents
        spec = structures.ComponentSpec.from_ir_dicts(pipeline, platform[0] if platform else {})
        spec.description = spec.description or _description(text)
        super().__init__(spec, text)
        self._pipeline = pipeline

    @cached_property
    def pipeline_spec(self) -> Any:
        """The pipeline as kfp's message."""
        return json_format.ParseDict(self._pipeline, pipeline_spec_pb2.PipelineSpec())


def load(path: Path) -> Any:
    """A kfp pipeline of a file that kfp or edgeline compiled.

    Raises:
        Exception: it is none; which one is up to kfp.
    """
    text = plain_file.read_text(path)
    documents = plain_yaml.read(text)
    if not 1 <= len(documents) <= 2:
        raise ValueError(f"it has {len(documents)} documents, not one or two")
    for document in documents:
        if not isinstance(document, dict):
            raise ValueError("it is not an object")
    about = documents[0].get("pipelineInfo", {})
    if not isinstance(about, dict) or not isinstance(about.get("name", ""), str):
        raise ValueError("pipelineInfo is not an object with a name")
    if "implementation" in documents[0]:  # a component of KFP 1
        from kfp.components import load_component_from_text

        return load_component_from_text(text)
    return Package(text, documents)


def _description(text: str) -> str | None:
    """The description in the comment above a compiled pipeline; None where there is none."""
    lines = text.splitlines()
    if len(lines) < 3 or not lines[2].startswith(DESCRIPTION):
        return None
    found = [lines[2].removeprefix(DESCRIPTION)]
    for line in lines[3:]:
        if not line.startswith(GOES_ON):
            break
        found.append(line.removeprefix(GOES_ON))
    return "\n".join(found)
