"""The command line. Each command imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click
from click.core import ParameterSource

from edgeline.cli import completion
from edgeline.cli.check import check
from edgeline.cli.compile import compile_
from edgeline.cli.compile_model import compile_model
from edgeline.cli.components import components
from edgeline.cli.environments import environments
from edgeline.cli.images import images
from edgeline.cli.init import init
from edgeline.cli.lint import lint
from edgeline.cli.pipelines import pipelines
from edgeline.cli.repository import repository
from edgeline.cli.run import run
from edgeline.cli.runs import logs, open_, runs
from edgeline.cli.schedules import schedules
from edgeline.cli.serve import serve
from edgeline.cli.sites import site
from edgeline.cli.submit import submit
from edgeline.cli.tune import tune
from edgeline.cli.verify import verify
from edgeline.cli.warm import warm
from edgeline.errors import EdgelineError, at_path, shortened
from edgeline.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeline")
def cli() -> None:
    """Train in the cloud, predict on the device.

    Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.
    """


for _command in (
    check,
    compile_,
    compile_model,
    environments,
    images,
    init,
    lint,
    logs,
    open_,
    components,
    pipelines,
    repository,
    run,
    runs,
    schedules,
    serve,
    site,
    submit,
    tune,
    verify,
    warm,
):
    cli.add_command(_command)


def _whole_sentences(group: click.Group) -> None:
    """Show whole first sentences in lists of commands: click cuts them at the end of a line."""
    for command in group.commands.values():
        command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        if isinstance(command, click.Group):
            _whole_sentences(command)


def _check_given(command: click.Command) -> None:
    """Refuse empty values, which would be taken as ones that are not given, or as this folder, and
    options that are given twice, of which the last would count."""
    command.make_parser = partial(_make_parser, command.make_parser)  # type: ignore[method-assign]
    for parameter in command.params:
        if parameter.type is click.UNPROCESSED:  # another parser's
            continue
        parameter.callback = partial(_given, parameter.callback)
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _check_given(each)


def _make_parser(make: Callable[[click.Context], Any], context: click.Context) -> Any:
    parser = make(context)
    for option in {*parser._long_opt.values(), *parser._short_opt.values()}:
        if option.action == "store":
            option.process = partial(_once, option.process, option, context)
    return parser


def _once(
    process: Callable[[Any, Any], None], option: Any, context: click.Context, value: Any, state: Any
) -> None:
    if option.dest in state.opts:
        said = "it is given twice: leave one out."
        raise click.BadParameter(said, ctx=context, param=option.obj)
    process(value, state)


def _given(
    callback: Callable[[click.Context, click.Parameter, Any], Any] | None,
    context: click.Context,
    parameter: click.Parameter,
    value: Any,
) -> Any:
    typed = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    if typed and "" in (value if isinstance(value, tuple) else (value,)):
        raise click.BadParameter("it is empty: give a value.", param=parameter)
    return callback(context, parameter, value) if callback else value


_whole_sentences(cli)
completion.add(cli)  # looks at callbacks, which the next one wraps
_check_given(cli)


def main() -> None:
    """Entry point: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    # a task's `kill` or a closed terminal ends as Ctrl-C does: cleaned up
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _sentences():
        cli(prog_name="edgeline", standalone_mode=False)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted: no half-written files are left.", err=True)
        sys.exit(130)
    except EdgelineError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if not error.strerror:
            raise
        if not error.filename:
            click.echo(f"Error: {error.strerror}.", err=True)
            sys.exit(1)
        name = error.filename
        place = os.fsdecode(name) if isinstance(name, bytes) else str(name)
        found = at_path(error, f"{shortened(place)}: {error.strerror}.")
        click.echo(f"Error: {found}", err=True)
        sys.exit(found.exit_code)
    except ModuleNotFoundError as error:
        from edgeline.extras import install_hint

        click.echo(f"Error: {install_hint(error)}", err=True)
        sys.exit(1)
