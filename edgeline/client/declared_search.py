"""A search of the pipeline `tuned` for a system of the cluster to carry out, a trial in each pod.

What is searched, for what, and what each trial is told. A trial is `edgeline tune-trial`: the
pipeline `tuned` up to its search, of one trial (`one_trial.py`), so what is measured of it is what
`edgeline tune` measures.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.client import trial_inputs
from edgeline.components.settings.objects import FORMS, PREFIX, TUNED
from edgeline.components.tune import objectives, space, texts
from edgeline.components.tune.objectives import Objective
from edgeline.components.tune.space import Dimension
from edgeline.environments.apply import resources_of
from edgeline.environments.environment import Environment
from edgeline.errors import refuse_all
from edgeline.pipelines.parameter import Parameter
from edgeline.preflight import of_parameters

TRIAL = "EDGELINE_TRIAL"  # the variable with what a trial is told, as JSON
# a variable for each hyperparameter, as Trainer's OptimizationJob calls it
CHOSEN = "KUBEFLOW_TRAINER_OPT_"
IMAGE, COMPONENT = "compile", "tune"
COMMAND = ("edgeline", "tune-trial")  # Katib puts it into a shell's line as it is: no arguments
LABELS = {"app.kubernetes.io/part-of": "edgeline", "app.kubernetes.io/component": COMPONENT}
# a mesh's own container would never end
POD_LABELS = {**LABELS, "sidecar.istio.io/inject": "false"}
OF_SEARCH = ("trials", "jobs", "sampler", "sampler_seed")  # what whoever searches is told instead
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
# what only Optuna's search here knows, with what is right for every other
_OWN: Mapping[str, Any] = {
    "search_seconds": 0,
    "pruning": "",
    "study_folder": "",
    "choose_by": "",
    "direction": "",
    "tie": "first",
    "tie_within": 0.0,
}


@dataclass(frozen=True)
class DeclaredSearch:
    """What is to be searched.

    Attributes:
        name: of the model.
        objectives: at least one, the first before the others.
        dimensions: at least one.
        trials, jobs: how many, and how many at a time; jobs is at most trials.
        sampler, seed: as `edgeline.components.tune.search.SearchPlan` has them.
        trial: the parameters of `tuned` that a trial is told, by KFP's names.
    """

    name: str
    objectives: tuple[Objective, ...]
    dimensions: tuple[Dimension, ...]
    trials: int
    jobs: int
    sampler: str
    seed: int
    trial: Mapping[str, Any]

    @property
    def told(self) -> str:
        """What each trial is told, as JSON."""
        return json.dumps(self.trial, sort_keys=True)

    def named(self, spec: Mapping[str, Any]) -> str:
        """A name that another search does not have: both systems let nobody change a search."""
        digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
        begin = self.name if self.name[0].isalpha() else f"model-{self.name}"
        return f"{begin[:30].rstrip('-')}-{digest}"  # of 40 characters at most, as Katib has it


def declared(
    arguments: Mapping[str, Any],
    parameters: Mapping[str, Parameter],
    system: str,
    environment: Environment,
) -> DeclaredSearch:
    """The search that the parameters of `tuned` declare.

    Args:
        arguments: as `edgeline.pipelines.parameters.parse` gives them.
        parameters: of `tuned`.
        system: who is to search, for people.
        environment: of the trials.

    Raises:
        UsageError: no other system can carry it out; a line for each reason.
    """
    given = of_parameters(parameters, arguments)
    values = given.values if given else {}
    trial = _trial(arguments)
    resources = resources_of(environment, COMPONENT)
    refuse_all([*_faults(values, system), *trial_inputs.faults(trial, resources)])
    wanted = values["objectives"] or objectives.usual(values["task"])
    dimensions = space.parse(values["search_space"], "search_space")
    refuse_all(list(_unfit(dimensions)))
    return DeclaredSearch(
        name=values["model_name"],
        objectives=tuple(objectives.parse(wanted, values["task"], "objectives")),
        dimensions=dimensions,
        trials=int(values["trials"]),
        jobs=min(int(values["jobs"]), int(values["trials"])),
        sampler=values["sampler"],
        seed=int(values["sampler_seed"]),
        trial=trial,
    )


def variable(name: str) -> str:
    """The variable in which a trial is told a hyperparameter."""
    return CHOSEN + name.upper().replace("-", "_")


def _faults(values: Mapping[str, Any], system: str) -> Iterator[str]:
    if not values["search_space"]:
        yield (
            f"{system} cannot call search_space(trial) of the module: give the space as an object, "
            "--set search_space=FILE."
        )
    own = [name for name, usual in _OWN.items() if values.get(name, usual) != usual]
    if own:
        yield (
            f"{system} knows nothing like {', '.join(own)}, which are of the search by "
            "`edgeline tune` itself: leave them out."
        )


def _unfit(dimensions: tuple[Dimension, ...]) -> Iterator[str]:
    called: dict[str, str] = {}
    for each in dimensions:
        if not _NAME.fullmatch(each.name):
            yield (
                f"search_space.{each.name} cannot be a variable of a pod: use at most 64 letters, "
                "digits, _ and -, a letter or _ first."
            )
            continue
        texts.choices(each, f"search_space.{each.name}")
        if other := called.get(variable(each.name)):
            yield (
                f"search_space has {other} and {each.name}, which would be the same variable of a "
                "pod: rename one."
            )
        called[variable(each.name)] = each.name


def _trial(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial needs of them: nothing of who searches, of judging the chosen model or of
    delivering it."""
    found = {key: value for key, value in arguments.items() if not key.startswith(PREFIX)}
    found.pop("destination", None)
    for theme in FORMS[TUNED].objects:
        fields = dict(arguments.get(PREFIX + theme, {}))
        if theme == "delivery":
            continue
        if theme == "evaluation":
            fields = {key: x for key, x in fields.items() if key == "requirements"}
        fields = {key: x for key, x in fields.items() if key not in (*OF_SEARCH, *_OWN)}
        if fields:
            found[PREFIX + theme] = fields
    return found
