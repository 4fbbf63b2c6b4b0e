"""The version that a schedule runs, from what lies beside its file: a pipeline, or what compile
said of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeline.errors import UsageError
from edgeline.schedules import current
from edgeline.schedules.declaration import CURRENT, Declaration, Schedule


def pinned(declared: Declaration, folder: Path) -> Declaration:
    """A schedules file with a version's name wherever it says `from` or `version: current`. No
    server is asked.

    Args:
        folder: the file's, which what it names lies in or below.

    Raises:
        UsageError: there is no such pipeline or environment, or it is another pipeline than the
            schedule's; or nothing says which version is current.
    """
    return msgspec.structs.replace(
        declared, schedules=[_pinned(schedule, folder) for schedule in declared.schedules]
    )


def _current(schedule: Schedule, path: Path) -> Schedule:
    known = current.read(path)
    if schedule.pipeline not in known:
        raise UsageError(
            f"Schedule {schedule.name!r} runs the current version of {schedule.pipeline!r}, and "
            f"{path} names none: compile it with --current {path}."
        )
    return msgspec.structs.replace(schedule, version=known[schedule.pipeline])


def _pinned(schedule: Schedule, folder: Path) -> Schedule:
    from edgeline.client.compiling import compile_definition
    from edgeline.environments.environment import load
    from edgeline.pipelines import catalogue

    if schedule.version == CURRENT:
        return _current(schedule, folder / current.FILE)
    if not schedule.from_:
        return schedule
    definition = catalogue.load(_beside(schedule.from_, folder))
    place = load(_beside(schedule.environment, folder)) if schedule.environment else None
    compiled = compile_definition(definition, {}, place, schedule.parameters)
    if compiled.name != schedule.pipeline:
        raise UsageError(
            f"Schedule {schedule.name!r} is of pipeline {schedule.pipeline!r}, and {schedule.from_}"
            f" is {compiled.name!r}: name the same one twice."
        )
    return msgspec.structs.replace(schedule, version=compiled.version, from_="", environment="")


def _beside(name: str, folder: Path) -> str:
    """A file beside the schedules file, where there is one, else a name of ours."""
    path = folder / name
    return str(path) if path.is_file() else name
