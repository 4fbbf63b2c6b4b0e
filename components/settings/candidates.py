"""The candidates of a run: what each has of its own, checked, and as a loop hands it on.

    {"name": "wide", "hyperparameters": {"units": 64}}
    {"name": "recent", "rows": {"column": "when", "from": "2026-01-01"}}
    {"name": "trees", "module": "trees.py", "steps": 300}

Whatever a candidate leaves out is that of the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeline.artifacts.candidates import OWN, SHARED
from edgeline.components.choose.rule import ChoiceRule
from edgeline.components.settings.fields import check_field, short
from edgeline.components.settings.objects import Training
from edgeline.components.train_candidate.training_rows import TrainingRows
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.formats import parameter_file
from edgeline.formats.names import check_label

PARAMETER = "candidates"
MOST = 32  # each is a training, a pod and some tens of kB of a run's workflow
_RESERVED = "latest"  # which a signed repository keeps for itself


@dataclass(frozen=True)
class CandidateSettings:
    """What one candidate is.

    Attributes:
        name: lower-case letters, digits and dashes.
        module: its own, or "" for that of the run.
        rows: of the training split that it learns from; None: all.
        training: fields of `training` that it has of its own.
    """

    name: str
    module: str = ""
    rows: TrainingRows | None = None
    training: Mapping[str, Any] = field(default_factory=dict)


def parse(given: Any, where: str = "Parameter training.") -> list[CandidateSettings]:
    """The candidates of a parameter.

    Args:
        where: begins the sentence of an error.

    Raises:
        EdgelineError: not a list of objects, a name is impossible or there twice, two candidates
            are the same, or a field is unknown or has a value that it cannot have.
    """
    place = f"{where}{PARAMETER}"
    if not isinstance(given, (list, tuple)) or not all(isinstance(x, Mapping) for x in given):
        raise EdgelineError(f'{place} is not a list of objects such as {{"name": "wide"}}.')
    if len(given) > MOST:
        raise EdgelineError(
            f"{place} has {len(given)} candidates, more than {MOST}: leave some out."
        )
    found = [_candidate(each, f"{place}[{number}]") for number, each in enumerate(given)]
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise EdgelineError(f"{place} has {twice!r} twice: give each candidate a name of its own.")
    for number, each in enumerate(found):
        for other in found[:number]:
            if (each.module, each.rows, each.training) == (
                other.module,
                other.rows,
                other.training,
            ):
                raise EdgelineError(
                    f"{place}: {other.name} and {each.name} are the same but for their names: "
                    "leave one out, or give one another seed."
                )
    return found


def read(path: str | Path) -> list[dict[str, Any]]:
    """The list in a YAML file, checked as `parse` does.

    Raises:
        UsageError: it cannot be read, is not YAML, or is not as `parse` takes it.
    """
    where = Path(path)
    return parameter_file.read(
        where,
        list[dict[str, Any]],
        lambda value: parse(value, f"{where}: "),
        "a list of candidates",
        "write `- name: wide` and what it has of its own",
    )


def _candidate(given: Mapping[str, Any], place: str) -> CandidateSettings:
    name, module = given.get("name", ""), given.get("module", "")
    if not isinstance(name, str) or not name:
        raise EdgelineError(f"{place} has no name: give it one, such as wide.")
    check_label(f"{place}.name", name)
    if name == _RESERVED:
        raise EdgelineError(f"{place}.name is {name!r}, which means the latest version: change it.")
    if not isinstance(module, str):
        raise EdgelineError(f"{place}.module: {short(module)} is not a string.")
    known = ("name", "module", "rows", *OWN)
    for key in given:
        if key not in known:
            hint = did_you_mean(str(key), known, "A candidate has")
            raise EdgelineError(f"{place}.{key}: there is no such field. {hint}")
    rows = TrainingRows.parsed(given["rows"], f"{place}.rows") if "rows" in given else None
    training = {
        key: check_field(place, Training, key, value) for key, value in given.items() if key in OWN
    }
    return CandidateSettings(name, module, rows, training)


def check(candidates: Sequence[CandidateSettings], values: Mapping[str, Any]) -> None:
    """Refuse what only shows beside the other parameters of a run.

    Args:
        values: of the run's fields, by name.

    Raises:
        EdgelineError: a candidate would wait under the name that the best one is to have, or nobody
            knows which end of the metric that chooses is better.
    """
    taken = values.get("candidate", "")
    if taken and any(each.name == taken for each in candidates):
        raise EdgelineError(
            f"Parameter delivery.candidate is {taken!r}, which one of the candidates is called: it "
            "is the name under which the best one waits, so give another."
        )
    if candidates:
        names = ("choose_by", "direction", "tie", "tie_within")
        ChoiceRule(**{name: values[name] for name in names if name in values})


def items(
    candidates: Sequence[CandidateSettings], values: Mapping[str, Any]
) -> list[dict[str, str]]:
    """What a loop goes through: an object of texts for each candidate, as KFP hands them on.

    Args:
        values: of the run's fields, by name.
    """
    return [
        {
            "candidate": each.name,  # not name, which a loop's item has of its own in kfp
            "place": str(place),
            "own_module": each.module,
            "training": json.dumps(
                {name: values[name] for name in (*OWN, *SHARED)} | dict(each.training),
                sort_keys=True,
            ),
            "rows": json.dumps(each.rows.to_json() if each.rows else {}, sort_keys=True),
        }
        for place, each in enumerate(candidates)
    ]
