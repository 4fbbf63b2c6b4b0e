"""One trial of a search that another system carries out: what was measured of it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from edgeline import artifacts
from edgeline.client.backend import RunRequest
from edgeline.client.declared_search import TRIAL, variable
from edgeline.client.local import Here
from edgeline.components.settings.objects import PREFIX
from edgeline.components.tune import space, texts
from edgeline.components.tune.search import RANDOM
from edgeline.components.tune.tune import SCHEMA, TRIALS
from edgeline.errors import UsageError, did_you_mean

TRAINING = f"{PREFIX}training"


def asked(given: str, chosen: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of `tuned` for a search of one trial, that with these hyperparameters.

    Args:
        given: what a trial is told, as `DeclaredSearch.told`.
        chosen: hyperparameters by name, as texts; others are taken from their variables.

    Raises:
        UsageError: that is no such JSON, or a hyperparameter is missing, unknown or has a value
            that the search space does not have.
    """
    try:
        arguments = json.loads(given)
        training = dict(arguments[TRAINING])
        dimensions = space.parse(training["search_space"], f"{TRIAL}: search_space")
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{TRIAL} does not hold what a trial is told: write the manifest again with "
            "`edgeline tune --as`."
        ) from error
    names = [each.name for each in dimensions]
    for name in chosen:
        if name not in names:
            raise UsageError(f"Nothing searches for {name}. {did_you_mean(name, names)}")
    found = {}
    for each in dimensions:
        text = chosen.get(each.name, os.environ.get(variable(each.name)))
        if text is None:
            raise UsageError(
                f"{each.name} is not given: give {each.name}=VALUE, or the variable "
                f"{variable(each.name)}."
            )
        found[each.name] = {"choices": [texts.value(each, text)]}
    training |= {"search_space": found, "trials": 1, "jobs": 1, "sampler": RANDOM}
    return {**arguments, TRAINING: training}


def measured(arguments: Mapping[str, Any], console: Console) -> dict[str, float]:
    """Run the trial, and give what was measured of its edge model, by name.

    Args:
        arguments: as `asked` gives them.
        console: where progress is shown.

    Raises:
        EdgelineError: the trial failed, or its edge model could not be published, by why.
    """
    from edgeline.pipelines.one_trial import pipeline
    from edgeline.pipelines.parameters import check, parameters_of

    with tempfile.TemporaryDirectory(prefix="edgeline-trial-") as name:
        root = Path(name)
        parameters = parameters_of(pipeline)
        given = check({**arguments, "destination": str(root / "nothing")}, parameters)
        run = Here(root, console).submit(RunRequest(pipeline, given, cache=False)).wait()
        task = next(each for each in run.tasks.values() if each.task.component == "tune")
        study = artifacts.read(task.artifacts["study"]["uri"], SCHEMA)
        [trial] = json.loads((study.path / TRIALS).read_text())
    return {key: float(value) for key, value in trial["measured"].items()}
