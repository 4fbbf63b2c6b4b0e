"""What the shell is offered after Tab, beside commands and options: pipelines, components, targets,
runs, tasks and files. Nothing here imports kfp or TensorFlow, or asks a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from edgeline.cli import arguments
from edgeline.errors import EdgelineError

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
FILES = (arguments.existing, arguments.new_file, arguments.new_path)


def add(command: click.Command) -> None:
    """Give every argument and option of a command, and of those below it, what completes it."""
    for parameter in command.params:
        if complete := _of(command, parameter):
            parameter._custom_shell_complete = complete  # as shell_complete= at each of them
    if isinstance(command, click.Group):
        for each in command.commands.values():
            add(each)


def _of(command: click.Command, parameter: click.Parameter) -> Complete | None:
    if parameter.callback in FILES or parameter.type is click.UNPROCESSED:  # of serve
        return _files
    if parameter.callback is arguments.new_folder:
        return _folders
    if command.name == "components" and parameter.name == "name":
        return _components
    if parameter.name == "pipeline" or (command.name == "pipelines" and parameter.name == "name"):
        return _pipelines
    if parameter.name in ("targets", "target") and command.name in ("compile-model", "check"):
        return _targets
    of_runs = command.name in ("compare", "prune", "tensorboard") and parameter.name == "names"
    if parameter.name in ("run", "resume") or of_runs:
        return _runs
    return None


def _files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def _folders(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="dir")]


def _components(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from edgeline.components import catalogue

    return _beginning(catalogue.names(), incomplete)


def _pipelines(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A pipeline's name, or the file of one."""
    from edgeline.pipelines import catalogue

    named = _beginning([*catalogue.names(), *catalogue.outside()], incomplete)
    return named or [CompletionItem(incomplete, type="file")]


def _targets(_: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from edgeline.components.check.check import TARGETS
    from edgeline.components.compile import target

    every = TARGETS if parameter.name == "target" else [*target.MODULES, *target.outside()]
    return _beginning(every, incomplete)


def _runs(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest first. Those of a server are not asked for."""
    from edgeline.cli.run import RUNS
    from edgeline.local.runs import kept

    if context.params.get("host"):
        return []
    try:
        found = kept(Path(context.params.get("root") or RUNS))
    except EdgelineError:
        return []
    return _beginning([run.name for run in found], incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
