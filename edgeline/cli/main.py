"""The command line. Each command imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections import UserDict
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource

from edgeline.cli import completion
from edgeline.errors import EdgelineError, at_path, first_line, harmless, shortened
from edgeline.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeline")
def cli() -> None:
    """Train in the cloud, predict on the device.

    Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.
    """


class CommandsByName(UserDict[str, click.Command]):
    """A group's commands by their names, each imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        found = super().__getitem__(name)
        if not isinstance(found, click.Command):
            module, _, attribute = PLACES[name].partition(":")
            found = getattr(import_module(f"edgeline.cli.{module}"), attribute)
            _whole_sentence(found)
            completion.add(found)  # looks at callbacks, which the next one wraps
            _check_given(found)
            self[name] = found
        return found


PLACES = {
    "benchmark": "benchmark:benchmark",
    "check": "check:check",
    "compile": "compile:compile_",
    "compile-model": "compile_model:compile_model",
    "components": "components:components",
    "environments": "environments:environments",
    "fleet": "fleet:fleet",
    "images": "images:images",
    "init": "init:init",
    "lint": "lint:lint",
    "logs": "run_folders:logs",
    "mobile": "mobile:mobile",
    "open": "run_folders:open_",
    "pipelines": "pipelines:pipelines",
    "repository": "repository:repository",
    "run": "run:run",
    "runs": "runs:runs",
    "schedules": "schedules:schedules",
    "serve": "serve:serve",
    "site": "sites:site",
    "submit": "submit:submit",
    "triggers": "triggers:triggers",
    "tune": "tune:tune",
    "tune-trial": "tune_trial:tune_trial",
    "verify": "verify:verify",
    "warm": "warm:warm",
}


def _whole_sentence(command: click.Command) -> None:
    """Show whole first sentences in lists of commands: click cuts them at the end of a line."""
    command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _whole_sentence(each)


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


_check_given(cli)
cli.commands = CommandsByName(PLACES)  # type: ignore[arg-type]  # commands after a look


def main() -> None:
    """Entry point: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    # a `kill` or a closed terminal ends as Ctrl-C does: cleaned up
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no closed terminals
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, signal.default_int_handler)
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
        click.echo(f"Error: {harmless(str(error))}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        found = _of_system(error)
        click.echo(f"Error: {harmless(str(found))}", err=True)
        sys.exit(found.exit_code)
    except ModuleNotFoundError as error:
        from edgeline.extras import install_hint

        click.echo(f"Error: {install_hint(error)}", err=True)
        sys.exit(1)


_WAYS_OUT = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ELOOP), "check the path"),
    errno.EISDIR: "name a file, not a folder",
    **dict.fromkeys((errno.EEXIST, errno.ENOTEMPTY), "name another, or remove it first"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "change who may use it, or name another"),
    errno.EROFS: "name a place that can be written to",
    errno.ENAMETOOLONG: "give it a shorter name",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room on the disk"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files (ulimit -n)"),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), "end other programs, and try again"),
}


def _of_system(error: OSError) -> EdgelineError:
    """The sentence for what no command foresaw: the file, what the system or a library said of it,
    and the way out."""
    said = error.strerror or first_line(error)
    if not error.filename or isinstance(error.filename, int):  # or opened by its number
        way = _WAYS_OUT.get(error.errno or 0, "check the disk and the network, and try again")
        return EdgelineError(f"A file or an address cannot be used ({said}): {way}.")
    name = shortened(os.fsdecode(error.filename))
    way = _WAYS_OUT.get(error.errno or 0, "check the file and its disk")
    return at_path(error, f"{name} cannot be used ({said}): {way}.")
