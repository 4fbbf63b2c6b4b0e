"""What another system, such as MLflow, has got of a run: a file of the run's folder for each."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from edgeline.artifacts import write_json
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.local import folders


class SentState(Protocol):
    """Of a dataclass: whether the other system has all of a run that has ended."""

    complete: bool


S = TypeVar("S", bound=SentState)


def read(file: Path, kind: type[S]) -> S | None:
    """What it has; None where there is no file.

    Raises:
        EdgelineError: the file is damaged.
    """
    if not file.is_file():
        return None
    state: S = typed.convert(typed.read(file), kind, str(file))
    return state


def write(file: Path, state: Any) -> None:
    """Replace the file by a dataclass, whole or not at all."""
    partial = file.with_name(f"{file.name}.partial")
    write_json(partial, asdict(state))
    partial.replace(file)


def is_pending(file: Path, kind: type[SentState]) -> bool:
    """Whether it has not got all of a run, which has ended."""
    try:
        state = read(file, kind)
    except EdgelineError:
        return False
    return state is not None and not state.complete and not folders.is_held(file.parent)
