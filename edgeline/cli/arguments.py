"""What the arguments of several commands have in common."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click

from edgeline.errors import shortened
from edgeline.formats.plain_file import FILE, FOLDER, kind

setting = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a pipeline parameter; VALUE is JSON, strings need no quotes. Repeatable.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def existing(_: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: each path is a file or folder; an address such as s3://bucket/models is asked
    for later."""
    for each in value if isinstance(value, tuple) else (value,):
        path = (each or "").partition("#sha256=")[0]  # a pin, where locations may have one
        if each is None or "://" in path:
            continue
        # Path("") is this folder; an empty option is one that is not given
        found = kind(path or ("" if isinstance(parameter, click.Argument) else "."))
        if not found:
            raise click.BadParameter(f"{shortened(each)!r} does not exist.", param=parameter)
        if found not in (FILE, FOLDER):  # nothing may ever come out of it
            raise click.BadParameter(f"{each!r} is {found}, not a file.", param=parameter)
    return value


def new_file(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: a file can be made there, and its folders; asked before any work is done."""
    if value and kind(value) == FOLDER:
        raise click.BadParameter(f"'{value}' is a folder: name a file.", param=parameter)
    return new_path(context, parameter, value)


def new_folder(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: there is a folder, or one can be made."""
    if value and (found := kind(value)) not in ("", FOLDER):
        raise click.BadParameter(f"'{value}' is {found}: name a folder.", param=parameter)
    return new_path(context, parameter, value)


def new_path(_: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """A callback: a file or folder can be made there. `a/../b` makes no folder `a`."""
    if not value:
        return value
    try:
        Path(value).stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # too long for a name, links in a circle, not permitted
        reason = f"cannot be made ({error.strerror})"
        raise click.BadParameter(f"'{shortened(value)}' {reason}.", param=parameter) from error
    except ValueError as error:  # a NUL
        raise click.BadParameter(f"{value!r} is not a path.", param=parameter) from error
    if ".." in Path(value).parts and not Path(value).parent.exists():
        value = os.path.normpath(value) + ("/" if value.endswith("/") else "")
    above = next((each for each in Path(value).parents if each.exists()), None)
    if above is not None and not above.is_dir():
        raise click.BadParameter(f"'{value}' cannot be made: '{above}' is a file.", param=parameter)
    return value


def finite(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A callback: click's ranges let NaN through."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.", param=parameter)
    return value
