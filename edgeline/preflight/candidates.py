"""The candidates of a run: fields that they do not have, and mistakes in the module of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from edgeline.components.settings.candidates import PARAMETER, check, parse
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.preflight import module, places, tuning
from edgeline.preflight.given import GivenRun

MODULE = "Parameter module"
OF_A_MODULE = (module.source, module.label, module.features)


def hyperparameters(run: GivenRun) -> Iterator[str]:
    """What build_model takes out of its hyperparameters; where there are candidates, of each, and
    where they are searched for, see `edgeline.preflight.tuning`."""
    if not run.values.get(PARAMETER) and not tuning.is_searched(run):
        yield from module.hyperparameters(run)


def tried(run: GivenRun) -> Iterator[str]:
    """What the run's first task refuses, what the modules lack, and windows by other columns."""
    given = run.values.get(PARAMETER)
    if given is None:
        return
    try:
        found = parse(given)
        check(found, run.values)
    except EdgelineError as error:
        yield str(error)
        return
    for each in found:
        own: dict[str, Any] = {**run.values, **each.training}
        if each.module:
            own["module"] = each.module
        as_run = replace(run, values=own)
        asked = [module.hyperparameters]
        asked += OF_A_MODULE if each.module else ()  # the run's own is asked once for all
        if not each.module and "label_vocabulary" in each.training:
            asked.append(module.label)
        if each.module:
            of_pins = (fault for fault in places.pins(as_run) if fault.startswith(MODULE))
            yield from (f"Candidate {each.name}: {sentence}" for sentence in of_pins)
        for ask in asked:
            yield from (f"Candidate {each.name}: {sentence}" for sentence in ask(as_run))
        columns = run.header.names if run.header and not run.values.get("windows") else None
        if each.rows and columns is not None and each.rows.column not in columns:
            yield (
                f"Candidate {each.name}: rows names the column {each.rows.column!r}, which the "
                f"data do not have. {did_you_mean(each.rows.column, columns, 'They have')}"
            )
