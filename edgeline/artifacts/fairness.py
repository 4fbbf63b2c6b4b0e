"""What a run asks about fairness: between which groups of rows, and what is done about a gap.

A parameter carries it as an object, `{"group": "company", "mitigation": "thresholds"}`; an empty
one asks for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from edgeline.artifacts.requirements import NAME as REQUIREMENTS
from edgeline.artifacts.requirements import MetricRequirement
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.formats.doubles import whole

NAME = "fairness"
GROUP = "edgeline fairness group"  # the column of transformed examples; no model has such an input
WITHOUT = "without_mitigation"  # the folder of a model/v1 with the model that was trained so
Mitigation = Literal["none", "reweighing", "thresholds", "penalty"]
Criterion = Literal["equalised_odds", "equal_opportunity", "demographic_parity"]
TRAINED = ("reweighing", "penalty")  # those that change the training
MOST_GROUPS = 100
DIFFERENCES = {  # between groups, as analyze computes them, and whether higher is better
    "demographic_parity_difference": False,
    "demographic_parity_ratio": True,
    "equalised_odds_difference": False,
    "equal_opportunity_difference": False,
    "calibration_difference": False,
}


@dataclass(frozen=True)
class FairnessSettings:
    """Groups, and the mitigation of what differs between them.

    Attributes:
        group: the raw column whose values are the groups.
        mitigation: none; reweighing, weights of rows by group and label in the training; penalty,
            a term of the training's loss for the difference of the groups' mean scores; or
            thresholds, a decision threshold for each group.
        criterion: what thresholds and penalty bring together: the rates of yes among negatives and
            among positives (equalised_odds), those among positives (equal_opportunity), or among
            all rows (demographic_parity).
        weight: of the penalty in the loss, above 0.
        max_accuracy_drop: what thresholds may cost, as a share of all rows, 0 to 1.
        min_rows: a group with fewer rows is left out, and named.
        compare: whether a training that mitigates is done without, too, to be compared with.
    """

    group: str
    mitigation: Mitigation = "none"
    criterion: Criterion = "equalised_odds"
    weight: float = 1.0
    max_accuracy_drop: float = 0.01
    min_rows: int = 50
    compare: bool = True

    @property
    def trains(self) -> bool:
        """Whether the training is another one."""
        return self.mitigation in TRAINED


FIELDS = tuple(FairnessSettings.__dataclass_fields__)
MITIGATIONS = get_args(Mitigation)


def parse(
    value: Mapping[str, Any] | None, where: str = f"Parameter {NAME}"
) -> FairnessSettings | None:
    """What an object asks for; None of an empty one.

    Args:
        where: begins the sentence of an error.

    Raises:
        EdgelineError: a field is missing, unknown or has a value that it cannot have.
    """
    if not value:
        return None
    try:
        found: FairnessSettings = typed.convert(whole(dict(value)), FairnessSettings)
    except EdgelineError as error:
        raise EdgelineError(
            f"{where}: {error}: its fields are {', '.join(FIELDS)}, as in "
            '{"group": "company", "mitigation": "thresholds"}.'
        ) from None
    wrong = ""
    if not found.group:
        wrong = "group is empty: name a column of the raw rows"
    elif not 0 < found.weight < math.inf:
        wrong = f"weight is {found.weight:g}: give a number above 0"
    elif not 0 <= found.max_accuracy_drop <= 1:
        wrong = f"max_accuracy_drop is {found.max_accuracy_drop:g}: give a share of 0 to 1"
    elif found.min_rows < 1:
        wrong = f"min_rows is {found.min_rows}: give a whole number of at least 1"
    if wrong:
        raise EdgelineError(f"{where}: {wrong}.")
    return found


def training(value: Mapping[str, Any] | None) -> FairnessSettings | None:
    """What an object asks of a training; None where that is nothing.

    Raises:
        EdgelineError: as `parse`.
    """
    found = parse(value)
    return found if found and found.trains else None


def check(
    found: FairnessSettings | None,
    task: str,
    *,
    workers: int = 1,
    beam: bool = False,
    optimisation: str = "",
    where: str = f"Parameter {NAME}",
) -> None:
    """Refuse what cannot be done, before anything is read.

    Args:
        task: one of `edgeline.artifacts.models.TASKS`.
        workers: that share the training.
        beam: whether Beam's workers evaluate.
        optimisation: of `train`.

    Raises:
        EdgelineError: as said.
    """
    if found is None:
        return
    binary = task == "binary_classification"
    wrong = ""
    if task == "regression":
        wrong = "is about decisions, and a regression makes none: leave it out"
    elif beam:
        wrong = "is not computed by Beam's workers: leave it out, or beam_options"
    elif found.mitigation in ("thresholds", "penalty") and not binary:
        wrong = (
            f"has the mitigation {found.mitigation}, which is for two classes: give reweighing, "
            "or none"
        )
    elif found.mitigation == "penalty" and workers > 1:
        wrong = (
            f"has the mitigation penalty, which is of whole batches, and {workers} workers each "
            "see a part: give reweighing, or one worker"
        )
    elif found.mitigation == "penalty" and optimisation:
        wrong = (
            f"has the mitigation penalty, and optimisation is {optimisation}, whose tf_keras "
            "model does not take it: give reweighing, or leave optimisation out"
        )
    if wrong:
        raise EdgelineError(f"{where} {wrong}.")


def check_required(found: FairnessSettings | None, wanted: Sequence[MetricRequirement]) -> None:
    """Refuse requirements on differences between groups that nobody computes.

    Args:
        wanted: of the trained model.

    Raises:
        EdgelineError: names the metric.
    """
    for each in wanted:
        if each.metric.replace("equalized", "equalised") not in DIFFERENCES:
            continue
        wrong = ""
        if each.metric not in DIFFERENCES:
            wrong = "is called equalised_odds_difference here"
        elif each.columns:
            wrong = "is between the groups of fairness.group already: leave out by and where"
        elif found is None:
            wrong = f"needs groups: give the parameter {NAME}, as in {{'group': 'company'}}"
        elif DIFFERENCES[each.metric] != each.least:
            wrong = "is better when "
            wrong += "lower: give at_most" if each.least else "higher: give at_least"
        if wrong:
            raise EdgelineError(f"Parameter {REQUIREMENTS}: {each.metric} {wrong}.")
