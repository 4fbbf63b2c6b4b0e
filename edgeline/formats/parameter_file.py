"""The value of a parameter from a YAML file of its own, such as requirements.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import plain_file, plain_yaml

T = TypeVar("T")


def read(
    path: str | Path, kind: type[T], check: Callable[[T], object], what: str, way_out: str
) -> T:
    """The value in a file.

    Args:
        kind: the type that it is to have.
        check: raises an EdgelineError, which names the file, where the value cannot be.
        what: the file is to be, with its article.
        way_out: what to write there.

    Raises:
        UsageError: the file cannot be read, is not YAML of that type, or `check` refuses it.
    """
    path = Path(path)
    try:
        value = plain_yaml.load(plain_file.read(path), kind)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    except ValueError as error:
        raise UsageError(f"{path} is not {what} ({error}): {way_out}.") from error
    try:
        check(value)
    except EdgelineError as error:
        raise UsageError(str(error)) from None
    return value
