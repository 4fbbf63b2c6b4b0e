"""What Optuna's study of a search says: what became of each trial, the front, and what mattered."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeline.components.tune.journal import Journal
from edgeline.components.tune.objectives import Objective
from edgeline.components.tune.outcome import (
    COMPLETE,
    FAILED,
    INFEASIBLE,
    INTERRUPTED,
    PRUNED,
    TrialOutcome,
)

if TYPE_CHECKING:
    import optuna

# what a trial's attributes are called
REASON, GIVEN, MEASURED, CURVE = "reason", "given", "measured", "curve"


def outcomes(study: optuna.Study, objectives: Sequence[Objective]) -> list[TrialOutcome]:
    """The trials of a study that have ended, by their numbers."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            found.append(outcome(trial, objectives))
    return found


def front(trials: Sequence[TrialOutcome], objectives: Sequence[Objective]) -> list[TrialOutcome]:
    """The complete trials that no other beats: as good in every objective, and better in one."""
    complete = [each for each in trials if each.state == COMPLETE]
    signs = np.array([-1.0 if each.is_maximized else 1.0 for each in objectives])
    losses = [signs * [each.values[o.name] for o in objectives] for each in complete]
    return [
        each
        for each, loss in zip(complete, losses, strict=True)
        if not any((other <= loss).all() and (other < loss).any() for other in losses)
    ]


def importances(
    journal: Journal, objectives: Sequence[Objective], trials: Sequence[TrialOutcome]
) -> dict[str, dict[str, float]]:
    """How much each hyperparameter has to do with each objective, by PED-ANOVA, as shares of 1.

    Watanabe et al., 2023: which parameters' values set the best tenth of the trials apart; nothing
    of fewer than ten trials. Values that a loop or condition asks for have a share of their own.
    """
    import optuna

    measured = [each for each in trials if each.values]
    if len(measured) < 10:
        return {}
    study = optuna.load_study(study_name=journal.study, storage=journal.storage())
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found: dict[str, dict[str, float]] = {}
    for index, objective in enumerate(objectives):
        sign = -1.0 if objective.is_maximized else 1.0  # it asks what makes values low

        def value(trial: optuna.trial.FrozenTrial, index: int = index, sign: float = sign) -> float:
            return sign * float(trial.values[index])

        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "PedAnovaImportanceEvaluator computes")
                told = optuna.importance.get_param_importances(
                    study, evaluator=evaluator, target=value
                )
        except (ValueError, RuntimeError):  # no parameter, or trials that are all the same
            continue
        found[objective.name] = {name: float(share) for name, share in told.items()}
    return found


def outcome(trial: optuna.trial.FrozenTrial, objectives: Sequence[Objective]) -> TrialOutcome:
    """What became of one trial that has ended."""
    from optuna.trial import TrialState

    told = trial.user_attrs
    reason, values = str(told.get(REASON, "")), {}
    if trial.state == TrialState.COMPLETE:
        state = INFEASIBLE if any(x > 0 for x in trial.constraints.values()) else COMPLETE
        values = {o.name: float(x) for o, x in zip(objectives, trial.values, strict=True)}
    elif trial.state == TrialState.PRUNED:
        state = PRUNED
    else:
        state = FAILED if reason else INTERRUPTED
        reason = reason or "Its process ended before it did; it does not count."
    curve = told.get(CURVE, {})
    if not curve and trial.intermediate_values:
        sign = -1.0 if objectives[0].is_maximized else 1.0  # see `_watch`
        reported = sorted(trial.intermediate_values.items())
        curve = {"val_loss": [sign * value for _, value in reported]}
    return TrialOutcome(
        number=trial.number,
        state=state,
        hyperparameters=told.get(GIVEN, {}),
        values=values,
        reason=reason,
        measured=told.get(MEASURED, {}),
        curve=curve,
        seconds=trial.duration.total_seconds() if trial.duration else 0.0,
    )
