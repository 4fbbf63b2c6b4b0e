"""Find a pipeline by name, file or compiled package."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from edgeline import user_code
from edgeline.errors import UsageError, did_you_mean
from edgeline.pipelines.parameters import check_constants


def names() -> list[str]:
    """The pipelines that come with edgeline."""
    return sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/pipeline.py"))


def load(pipeline: str) -> Any:
    """A kfp pipeline.

    Args:
        pipeline: the name of one of ours, a Python file with a variable `pipeline`, or a
            compiled .yaml.

    Raises:
        UsageError: there is no such pipeline, or the file does not contain one.
        EdgelineError: the file raises an error while it is imported.
    """
    if pipeline in names():
        return importlib.import_module(f"edgeline.pipelines.{pipeline}.pipeline").pipeline
    path = Path(pipeline)
    if not path.is_file():
        raise UsageError(
            f"There is no pipeline {pipeline!r}. {did_you_mean(pipeline, names())} A Python file "
            "with a variable `pipeline` and a compiled .yaml file also work."
        )
    from kfp import components

    if path.suffix in (".yaml", ".yml"):
        try:
            return components.load_component_from_file(pipeline)
        except Exception as error:
            why = " ".join(str(error).split())
            raise UsageError(f"{pipeline} is not a compiled pipeline ({why}).") from error
    if path.suffix != ".py":
        raise UsageError(f"{pipeline} is neither a Python file nor a compiled .yaml file.")
    found = getattr(user_code.load(pipeline), "pipeline", None)
    if not hasattr(found, "pipeline_spec"):
        raise UsageError(f"{pipeline} has no variable `pipeline` that is a kfp pipeline.")
    check_constants(found)
    return found
