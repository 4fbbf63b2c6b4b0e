"""`edgeline run`: parameters in, progress and a page out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeline import storage, terminal
from edgeline.cli import parse_settings
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    from rich.console import Console

    from edgeline.local.runner import RunResult

FILE_PARAMETERS = ("data", "module")


def run_command(
    pipeline: str, settings: tuple[str, ...], root: Path, cache: bool, docker: bool = False
) -> int:
    """Run a pipeline with a live display; 0 if every task ran well, else 1.

    Raises:
        EdgelineError: the pipeline or a local file does not exist.
        click.UsageError: a setting is wrong, or a required parameter is missing.
    """
    import click

    from edgeline.local.progress import final_table
    from edgeline.pipelines import catalogue

    console = terminal.console()  # kept while kfp's own output goes to a file
    definition = catalogue.load(pipeline)
    parameters = definition.pipeline_spec.root.input_definitions.parameters
    arguments = parse_settings(settings, parameter_kinds(parameters))
    if missing := missing_parameters(parameters, arguments):
        raise click.UsageError(f"Set {', '.join(missing)} with --set NAME=VALUE.")
    result, page = run_here(definition, arguments, root, cache, console, docker)
    if console.is_terminal:
        console.print()
    console.print(final_table(result.tasks))
    console.print(
        f"\n{result.seconds:.1f} s, report: [link=file://{page}]{page}[/link]", soft_wrap=True
    )
    if result.failed:
        first = result.failed[0]
        raise EdgelineError(f"Task {first.task.component} failed: {first.error}")
    if result.skipped:
        task = result.skipped[0].task
        raise EdgelineError(
            f"Task {task.component} and those after it did not run, as {task.condition} is false: "
            f"see the reasons in {page}."
        )
    return 0


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
        EdgelineError: a local file of the arguments does not exist.
    """
    from edgeline.local.page import write_page
    from edgeline.local.plan import plan
    from edgeline.local.progress import Progress
    from edgeline.local.runner import run

    spec = definition.pipeline_spec
    arguments = _local(dict(arguments), spec.root.input_definitions.parameters, root)
    names = [task.component for task in plan(spec)]
    with Progress(console, names) as progress:
        result = run(definition, arguments, root, cache, progress.update, docker)
    page = write_page(result, arguments)
    _write_record(result)
    return result, page


def missing_parameters(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """The parameters that a pipeline requires and that no argument is there for."""
    return [
        name
        for name, entry in sorted(parameters.items())
        if name not in arguments and not entry.is_optional and not entry.HasField("default_value")
    ]


def parameter_kinds(parameters: Mapping[str, Any]) -> dict[str, str]:
    """KFP's type name of each parameter of a pipeline, sorted (a proto's map has no order)."""
    kinds = {}
    for name, entry in sorted(parameters.items()):
        names = entry.DESCRIPTOR.fields_by_name["parameter_type"].enum_type.values_by_number
        kinds[name] = str(names[entry.parameter_type].name)
    return kinds


def _local(arguments: dict[str, Any], parameters: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Pin local files to their content, and give checkpoints a place that outlives the run.

    A cache keyed by parameters then sees that a file has changed.
    """
    complete = dict(arguments)
    for name in FILE_PARAMETERS:
        if name not in parameters:
            continue
        given = arguments.get(name) or parameters[name].default_value.string_value
        if given and (name == "data" or given.partition("#")[0].endswith(".py")):
            complete[name] = storage.pin(given)
    if "checkpoint_dir" in parameters and "checkpoint_dir" not in arguments:
        complete["checkpoint_dir"] = str((root / ".checkpoints").resolve())
    if "destination" in parameters:
        given = arguments.get("destination") or parameters["destination"].default_value.string_value
        if "://" not in given:
            complete["destination"] = str(Path(given).resolve())
    return complete


def _write_record(result: Any) -> None:
    record = {
        "pipeline": result.pipeline,
        "seconds": round(result.seconds, 3),
        "tasks": {
            name: {
                "state": task.state,
                "seconds": round(task.seconds, 3),
                "peak_memory": task.peak_memory,
                "error": task.error,
                "outputs": task.outputs,
            }
            for name, task in result.tasks.items()
        },
    }
    (result.folder / "run.json").write_text(json.dumps(record, indent=1))
