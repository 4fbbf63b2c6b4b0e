"""Find a pipeline by name, file or compiled package."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from edgeline import plugins, user_code
from edgeline.errors import (
    EdgelineError,
    UsageError,
    asked_for,
    did_you_mean,
    first_line,
    shortened,
)
from edgeline.formats import plain_file
from edgeline.kubeflow.sdk import import_kfp
from edgeline.pipelines.constants import check_constants
from edgeline.plugins import Plugin

PACKAGES = (".yaml", ".yml")
DATA = (".csv", ".tsv", ".txt", ".jsonl", ".parquet", ".xlsx")  # of which people make a project


def names() -> list[str]:
    """The pipelines that come with edgeline."""
    return sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/pipeline.py"))


def outside() -> dict[str, Plugin]:
    """The pipelines that other installed packages bring, by name; nothing is imported."""
    return plugins.found(plugins.PIPELINES, names())


def refused() -> dict[str, str]:
    """Why a pipeline that another package brings cannot be asked for, by its name."""
    return plugins.refused(plugins.PIPELINES, names())


def load(pipeline: str) -> Any:
    """A kfp pipeline.

    Args:
        pipeline: the name of one of ours or of another package's, a Python file with a variable
            `pipeline`, or a compiled .yaml.

    Raises:
        UsageError: there is no such pipeline, the file does not contain one, raises an error while
            it is imported, or holds null, NaN or infinity (see
            `edgeline.pipelines.constants.check_constants`).
        EdgelineError: another package brings it, and it cannot be loaded.
    """
    import_kfp()
    if pipeline in names():
        return importlib.import_module(f"edgeline.pipelines.{pipeline}.pipeline").pipeline
    if plugin := outside().get(pipeline):
        return _load(plugin)
    if sentence := refused().get(pipeline):
        raise EdgelineError(sentence)
    path = Path(pipeline)
    there = plain_file.kind(path)
    if there != plain_file.FILE:
        known = [*names(), *outside()]
        if there:
            inside = path / "pipeline.py"
            if there == plain_file.FOLDER and inside.is_file():
                raise UsageError(f"{pipeline} is a folder: give its pipeline, {inside}.")
            raise UsageError(
                f"{pipeline} is {there}, not a pipeline: give a Python file, a compiled .yaml file "
                "or a name that `edgeline pipelines` lists."
            )
        if path.suffix in (".py", *PACKAGES) or len(path.parts) > 1:
            raise UsageError(
                f"{shortened(pipeline)} does not exist: check the path, or change to the folder "
                "that it lies in."
            )
        raise UsageError(
            f"There is no pipeline {shortened(pipeline)!r}. {did_you_mean(pipeline, known)} A "
            "Python file with a variable `pipeline` and a compiled .yaml file also work."
        )
    if path.suffix in PACKAGES:
        from edgeline.pipelines import package

        try:
            found = package.load(path)
            found.pipeline_spec  # noqa: B018  # what is wrong with it is told here
        except OSError as error:
            raise UsageError(f"{pipeline} cannot be read ({error.strerror}).") from error
        except Exception as error:
            why = " ".join(str(error).split())
            if isinstance(error, (AttributeError, LookupError, TypeError)):
                why = "it is not of KFP's format"  # Python's words say nothing of the file
            raise UsageError(f"{pipeline} is not a compiled pipeline: {why}.") from error
        _refuse_component(pipeline, found)
        check_constants(found)
        return found
    if path.suffix != ".py":
        hint = ""
        if path.suffix.lower() in DATA:
            hint = f" For data make a project: edgeline init NAME --data {pipeline}"
        raise UsageError(f"{pipeline} is neither a Python file nor a compiled .yaml file.{hint}")
    with asked_for(), _quiet():
        found = getattr(user_code.load(pipeline), "pipeline", None)
    if not hasattr(found, "pipeline_spec"):
        raise UsageError(
            f"{pipeline} has no variable `pipeline` that is a kfp pipeline.{_other_file(path)}"
        )
    _refuse_component(pipeline, found)
    check_constants(found)
    return found


def _other_file(path: Path) -> str:
    """Which file is meant where one of a project was given that holds no pipeline."""
    beside = path.with_name("pipeline.py")
    if beside.is_file() and path.name != beside.name:
        return f" Give {beside}, which lies beside it."
    return f" A module is run by a pipeline: edgeline run tabular --module {path} --set …"


def _load(plugin: Plugin) -> Any:
    with _quiet():
        found = plugin.load()
    if isinstance(found, ModuleType):
        found = getattr(found, "pipeline", None)
    if not hasattr(found, "pipeline_spec") or _is_component(found):
        raise plugin.broken(f"{plugin.value} is not a kfp pipeline")
    try:
        check_constants(found)
    except EdgelineError as error:
        raise plugin.broken(first_line(error)) from error
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without kfp's news about components that have no image, before any sentence of ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The default base_image", FutureWarning)
        yield


def _is_component(found: Any) -> bool:
    return found.component_spec.implementation.container is not None


def _refuse_component(file: str, found: Any) -> None:
    """kfp has one kind of object for both, and ends in an exception over a component's artifacts.

    Raises:
        UsageError: it is a component.
    """
    if _is_component(found):
        raise UsageError(
            f"{file} holds the component {found.name}, not a pipeline: call it in a function with "
            "@dsl.pipeline."
        )
