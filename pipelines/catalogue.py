"""Find a pipeline by name, file or compiled package."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from edgeline import user_code
from edgeline.errors import EdgelineError


def names() -> list[str]:
    """The pipelines that come with edgeline."""
    return sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/pipeline.py"))


def load(pipeline: str) -> Any:
    """A kfp pipeline.

    Args:
        pipeline: the name of one of ours, a Python file with a variable `pipeline`, or a
            compiled .yaml.

    Raises:
        EdgelineError: there is no such pipeline, or the file holds none.
    """
    if pipeline in names():
        return importlib.import_module(f"edgeline.pipelines.{pipeline}.pipeline").pipeline
    path = Path(pipeline)
    if not path.is_file():
        raise EdgelineError(
            f"There is no pipeline {pipeline!r}: name one of {', '.join(names())}, a Python file "
            "with a variable `pipeline`, or a compiled .yaml file."
        )
    from kfp import components

    if path.suffix in (".yaml", ".yml"):
        try:
            return components.load_component_from_file(pipeline)
        except Exception as error:
            raise EdgelineError(f"{pipeline} is no compiled pipeline ({error}).") from error
    found = getattr(user_code.load(pipeline), "pipeline", None)
    if not hasattr(found, "pipeline_spec"):
        raise EdgelineError(f"{pipeline} has no variable `pipeline` with a kfp pipeline.")
    return found
