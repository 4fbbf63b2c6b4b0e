"""Find a pipeline by name, file or compiled package."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

from edgeline import user_code
from edgeline.errors import UsageError, asked_for, did_you_mean
from edgeline.kubeflow.sdk import import_kfp
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
        UsageError: there is no such pipeline, the file does not contain one, raises an error while
            it is imported, or holds null, NaN or infinity (see
            `edgeline.pipelines.parameters.check_constants`).
    """
    import_kfp()
    if pipeline in names():
        return importlib.import_module(f"edgeline.pipelines.{pipeline}.pipeline").pipeline
    path = Path(pipeline)
    if not path.is_file():
        raise UsageError(
            f"There is no pipeline {pipeline!r}. {did_you_mean(pipeline, names())} A Python file "
            "with a variable `pipeline` and a compiled .yaml file also work."
        )
    if path.suffix in (".yaml", ".yml"):
        from edgeline.pipelines import package

        try:
            found = package.load(path)
        except Exception as error:
            why = " ".join(str(error).split())
            raise UsageError(f"{pipeline} is not a compiled pipeline ({why}).") from error
        _refuse_component(pipeline, found)
        check_constants(found)
        return found
    if path.suffix != ".py":
        raise UsageError(f"{pipeline} is neither a Python file nor a compiled .yaml file.")
    with asked_for(), warnings.catch_warnings():
        # kfp's news about components without an image, before any sentence of ours
        warnings.filterwarnings("ignore", "The default base_image", FutureWarning)
        found = getattr(user_code.load(pipeline), "pipeline", None)
    if not hasattr(found, "pipeline_spec"):
        raise UsageError(f"{pipeline} has no variable `pipeline` that is a kfp pipeline.")
    _refuse_component(pipeline, found)
    check_constants(found)
    return found


def _refuse_component(file: str, found: Any) -> None:
    """kfp has one kind of object for both, and ends in an exception over a component's artifacts.

    Raises:
        UsageError: it is a component.
    """
    if found.component_spec.implementation.container is not None:
        raise UsageError(
            f"{file} holds the component {found.name}, not a pipeline: call it in a function with "
            "@dsl.pipeline."
        )
