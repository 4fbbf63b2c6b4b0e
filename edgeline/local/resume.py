"""Going on with a run that failed, was interrupted, or is to do a part of it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline.errors import UsageError
from edgeline.local.record import PIPELINE
from edgeline.local.runs import KeptRun
from edgeline.pipelines import catalogue
from edgeline.pipelines.parameter import Parameter


def check(run: KeptRun, start: str) -> None:
    """Refuse a run that cannot be gone on with from here.

    Args:
        start: the task that is to run again; "" for none.

    Raises:
        UsageError: it has succeeded, and no task is to run again; or it was started in another
            folder, which its paths are relative to.
    """
    record = run.record
    if record["state"] == "succeeded" and not start:
        raise UsageError(
            f"Run {run.name} has succeeded: --from TASK does a part of it again, and `edgeline run "
            f"{record['source'] or 'PIPELINE'} --cache` starts a new run with its results."
        )
    if Path.cwd() != Path(record["folder"]):
        raise UsageError(
            f"Run {run.name} was started in {record['folder']}, where its paths begin: "
            "go on with it there."
        )


def definition_of(run: KeptRun) -> tuple[Any, str]:
    """The pipeline of a run as it is now, and what it was loaded by; as it was then where it was
    given as an object, or is no longer there.

    Raises:
        UsageError, EdgelineError: it cannot be loaded.
    """
    source = str(run.record["source"])
    known = {*catalogue.names(), *catalogue.outside()}
    if source and (source in known or Path(source).exists()):
        return catalogue.load(source), source
    return catalogue.load(str(run.folder / PIPELINE)), source


def arguments_of(
    run: KeptRun, parameters: Mapping[str, Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters that were set for a run, with those that are set now before them.

    Args:
        parameters: the pipeline's, as it is now.
        given: set now, checked against them.

    Raises:
        UsageError: a value was left out of the record and is not given again, or the pipeline no
            longer has its parameter.
    """
    found = dict(given)
    for name, value in run.record["given"].items():
        if name not in parameters:
            raise UsageError(
                f"Run {run.name} has set {name}, which the pipeline no longer has: start a new run."
            )
        if parameters[name].fields and isinstance(value, Mapping):
            found[name] = {**value, **given.get(name, {})}
        elif name not in given:
            found[name] = value
    if absent := [name for name in run.record["left_out"] if not _is_given(name, given)]:
        raise UsageError(
            f"The record of run {run.name} has no secrets and no queries of URLs: give "
            f"{', '.join(absent)} again with --set NAME=VALUE."
        )
    return found


def _is_given(name: str, given: Mapping[str, Any]) -> bool:
    from edgeline.local.parameters import flat

    return name in flat(given)
