"""A pipeline run here: parameters in, progress and a page out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeline import preflight, user_code
from edgeline.errors import EdgelineError, UsageError
from edgeline.pipelines.flat import fields_called
from edgeline.pipelines.parameter import Parameter
from edgeline.pipelines.parameters import complete, parameters_of
from edgeline.stores import storage

if TYPE_CHECKING:
    from rich.console import Console

    from edgeline.local.tasks import RunResult

FILE_PARAMETERS = ("data", "module")


def run_here(
    definition: Any,
    arguments: Mapping[str, Any],
    root: Path,
    cache: bool,
    console: Console,
    docker: bool = False,
) -> tuple[RunResult, Path]:
    """Run a loaded pipeline with a live display; what became of it, and its page.

    Raises:
        UsageError: a parameter is without a value, or the run cannot succeed (see
            `edgeline.preflight`): every mistake, on a line each.
    """
    parameters = parameters_of(definition)
    _refuse_null(arguments, parameters)
    _refuse_artifacts(definition)
    preflight.before_a_run_here(parameters, arguments, root, docker)

    # kfp.local and what it brings cost as much as all questions
    from edgeline.local.page import write_page
    from edgeline.local.plan import plan
    from edgeline.local.progress import Progress
    from edgeline.local.runner import run

    arguments = _local(arguments, parameters, root, docker)
    names = [task.component for task in plan(definition.pipeline_spec)]
    with Progress(console, names) as progress:
        result = run(definition, arguments, root, cache, progress.update, docker)
    page = write_page(result, arguments)
    _write_record(result)
    return result, page


def _refuse_null(arguments: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> None:
    """kfp.local ends in an exception over a parameter with neither a value nor a default."""
    for name, each in parameters.items():
        if not each.required and each.default is None and name not in arguments:
            raise UsageError(
                f"Parameter {name} has no value and no default, which a run on this machine cannot "
                f"pass: give it a value with --set {name}=VALUE, or a default in the pipeline."
            )


def _refuse_artifacts(definition: Any) -> None:
    """kfp ends in an exception over these, too: nothing in a run could give them."""
    for name, entry in definition.pipeline_spec.root.input_definitions.artifacts.items():
        if not entry.is_optional:
            raise UsageError(
                f"The pipeline takes the artifact {name}, which only another pipeline can give: "
                "take a parameter, and import the artifact with dsl.importer."
            )


def _local(
    arguments: Mapping[str, Any], parameters: Mapping[str, Parameter], root: Path, docker: bool
) -> dict[str, Any]:
    """Pin local files to their content, and give checkpoints a place that outlives the run.

    A cache keyed by parameters then sees that a file has changed.
    """
    whole = complete(parameters, arguments)
    for name in FILE_PARAMETERS:
        if name not in parameters or parameters[name].kind != "STRING":
            continue
        given = whole.get(name)
        if given and name == "module" and not docker:  # an image may have others
            _check_module(given)
        if given:
            try:
                whole[name] = user_code.pin(given) if name == "module" else storage.pin(given)
            except EdgelineError as error:
                raise type(error)(f"Parameter {name}: {error}") from error
    checkpoints = str((root / ".checkpoints").resolve())
    if "checkpoint_dir" in parameters and "checkpoint_dir" not in arguments:
        whole["checkpoint_dir"] = checkpoints
    for place in fields_called("checkpoint_dir", parameters):
        owner = place.parameter.name
        if not whole[owner].get("checkpoint_dir"):
            whole[owner] = {**whole[owner], "checkpoint_dir": checkpoints}
    if "destination" in parameters and parameters["destination"].kind == "STRING":
        given = whole.get("destination", "")
        if "://" not in given:
            whole["destination"] = str(Path(given).resolve())
    return whole


def _check_module(module: str) -> None:
    try:
        user_code.check(module)
    except UsageError as error:
        raise UsageError(f"Parameter module: {error}") from error


def _write_record(result: Any) -> None:
    record = {
        "pipeline": result.pipeline,
        "seconds": round(result.seconds, 3),
        "tasks": {
            name: {
                "state": task.state,
                "seconds": round(task.seconds, 3),
                "cpu_seconds": round(task.cpu_seconds, 3),
                "peak_memory": task.peak_memory,
                "error": task.error,
                "outputs": task.outputs,
            }
            for name, task in result.tasks.items()
        },
    }
    (result.folder / "run.json").write_text(json.dumps(record, indent=1))
