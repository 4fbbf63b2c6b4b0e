"""The search: Optuna's samplers over a journal that outlives a kill. The one user of Optuna here.

Workers, of one process or of several that see the journal (`journal.py`), take turns in asking for
a trial and go their own ways with it. Each trial's sampler is seeded by
the search's seed and by how many trials there were before, so a search that one worker goes on with
after a kill makes the trials that it would have made without.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline.components.tune import studied
from edgeline.components.tune.journal import Journal
from edgeline.components.tune.objectives import Objective
from edgeline.components.tune.outcome import (
    FAILED,
    TrialFailedError,
    TrialMeasurement,
    TrialOutcome,
    TrialPrunedError,
)
from edgeline.errors import EdgelineError, first_line
from edgeline.extras import install_hint

if TYPE_CHECKING:
    import optuna

TPE, NSGA2, RANDOM = "tpe", "nsga2", "random"
SAMPLERS = (TPE, NSGA2, RANDOM)
MEDIAN = "median"
PRUNERS = ("", MEDIAN)
STARTUP = 8  # trials by chance before a sampler or a pruner goes by the others
POPULATION = 8  # of NSGA-II: Optuna's 50 are more than most searches here have trials
GRACE = 10  # seconds that a worker has to end its trial's step
_WORKER = "worker"

Suggest = Callable[[Any], Mapping[str, Any]]
EpochWatch = Callable[[int, float], None]
MeasureTrial = Callable[[int, Mapping[str, Any], "EpochWatch | None"], TrialMeasurement]


@dataclass(frozen=True)
class SearchPlan:
    """How to search.

    Attributes:
        objectives: at least one.
        trials: how many, those of earlier runs of the search included; interrupted ones are not.
        search_seconds: seconds after which no trial begins any more; 0: none.
        sampler: one of SAMPLERS.
        sampler_seed: of the samplers.
        pruning: one of PRUNERS: whether a trial whose validation loss is above the median of the
            others' in the same epoch is ended; for one objective.
        jobs: trials at a time in this task.

    Raises:
        EdgelineError: a field has another value.
    """

    objectives: tuple[Objective, ...]
    trials: int = 20
    search_seconds: float = 0.0
    sampler: str = TPE
    sampler_seed: int = 0
    pruning: str = ""
    jobs: int = 1

    def __post_init__(self) -> None:
        for name, known in (("sampler", SAMPLERS), ("pruning", PRUNERS)):
            if getattr(self, name) not in known:
                choices = ", ".join(each or "''" for each in known)
                raise EdgelineError(f"{name} is {getattr(self, name)!r}: give one of {choices}.")
        for name, least in (("trials", 1), ("search_seconds", 0), ("jobs", 1), ("sampler_seed", 0)):
            if getattr(self, name) < least:
                raise EdgelineError(
                    f"{name} is {getattr(self, name)}: give a number of at least {least}."
                )
        if self.pruning and len(self.objectives) > 1:
            raise EdgelineError(
                f"pruning is {self.pruning!r}, which goes by the validation loss alone and would "
                f"end small models early, but there are {len(self.objectives)} objectives: leave "
                "it out, or name one."
            )


def identified(plan: SearchPlan, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a search is known by: two that differ in it share no journal.

    Args:
        given: what all trials have in common, as JSON, beside what the plan says of them.

    Returns:
        as a journal gives it back: a tuple is a list.
    """
    whole = {
        **given,
        "objectives": [f"{each.direction} {each.name}" for each in plan.objectives],
        "sampler": f"{plan.sampler}, seed {plan.sampler_seed}, pruning {plan.pruning or 'none'}",
    }
    found: dict[str, Any] = json.loads(json.dumps(whole))
    return found


def search(
    plan: SearchPlan,
    suggest: Suggest,
    measure: MeasureTrial,
    journal: Journal,
    identity: Mapping[str, Any],
) -> list[TrialOutcome]:
    """Try hyperparameters until there are as many trials as asked for, or the time is over.

    Args:
        suggest: gives a trial's hyperparameters, by Optuna's trial.
        measure: trains and measures; is told the trial's number, its hyperparameters, and what to
            call with each epoch (from 1) and its validation loss. May raise TrialFailedError, and
            what that call raises (TrialPrunedError).
        journal: that of an earlier run of the same search goes on.
        identity: of the search; see `identified`.

    Returns:
        all trials of the journal, interrupted ones among them.

    Raises:
        EdgelineError: Optuna is not installed, the journal holds another search, is damaged or
            cannot be reached any more, or no trial of the search could be measured.
    """
    study = _opened(plan, journal, identity)
    ends = time.monotonic() + plan.search_seconds if plan.search_seconds else math.inf
    if plan.jobs > 1:
        _side_by_side(plan, suggest, measure, journal, identity, ends)
    _work(study, plan, suggest, measure, journal, ends)
    found = studied.outcomes(study, plan.objectives)
    counted = [each for each in found if each.counts]
    failed = [each for each in counted if each.state == FAILED]
    if counted and len(failed) == len(counted):
        reason, often = Counter(each.reason for each in failed).most_common(1)[0]
        raise EdgelineError(
            f"All {len(failed)} trials failed, {often} of them so: {reason.rstrip('.')}. Fix "
            "that, or narrow the search space."
        )
    return found


def _opened(plan: SearchPlan, journal: Journal, identity: Mapping[str, Any]) -> optuna.Study:
    """The study of a journal, made where there is none."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise EdgelineError(f"The search needs Optuna. {install_hint(error)}.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with journal.turn():
        try:
            study = optuna.create_study(
                storage=journal.storage(),
                study_name=journal.study,
                directions=[_direction(each) for each in plan.objectives],
                pruner=_pruner(plan),
                load_if_exists=True,
            )
            before = study.user_attrs.get("identity")
        except (ValueError, KeyError, OSError) as error:
            raise EdgelineError(
                f"{journal.place} does not hold a journal of a search, or one that is damaged "
                f"({error}): name another study_folder."
            ) from error
        if before is None:
            study.set_user_attr("identity", dict(identity))
        elif other := [
            name for name in {**before, **identity} if before.get(name) != identity.get(name)
        ]:
            raise EdgelineError(
                f"{journal.place} holds another search, whose {' and '.join(other)} "
                f"{'are' if len(other) > 1 else 'is'} not the same: name another folder as "
                "study_folder, or remove it."
            )
    return study


def _direction(objective: Objective) -> optuna.study.StudyDirection:
    from optuna.study import StudyDirection

    return StudyDirection.MAXIMIZE if objective.is_maximized else StudyDirection.MINIMIZE


def _pruner(plan: SearchPlan) -> optuna.pruners.BasePruner:
    import optuna

    if plan.pruning == MEDIAN:
        return optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=2)
    return optuna.pruners.NopPruner()


def _sampler(plan: SearchPlan, before: int) -> optuna.samplers.BaseSampler:
    """For one trial, of which `before` others were begun earlier."""
    import optuna

    seed = int(np.random.SeedSequence([plan.sampler_seed, before]).generate_state(1)[0])
    if plan.sampler == RANDOM:
        return optuna.samplers.RandomSampler(seed=seed)
    if plan.sampler == NSGA2:
        return optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
    return optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)


def _work(
    study: optuna.Study,
    plan: SearchPlan,
    suggest: Suggest,
    measure: MeasureTrial,
    journal: Journal,
    ends: float,
) -> None:
    """Try one set of hyperparameters after the other."""
    from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError

    try:
        with journal.worker() as worker:
            while time.monotonic() < ends:
                with journal.turn():
                    trial = _next(study, plan, journal, worker)
                if trial is None:
                    return
                _try(study, trial, plan, suggest, measure)
    # the second where the others took this worker for dead meanwhile
    except (StorageInternalError, UpdateFinishedTrialError) as error:
        raise EdgelineError(
            f"{journal.place} was lost during the search ({first_line(error)}): what was finished "
            "before is kept there, and the same search goes on with it."
        ) from error


def _next(
    study: optuna.Study, plan: SearchPlan, journal: Journal, worker: str
) -> optuna.trial.Trial | None:
    """Ask for a trial; None where there are enough, ended or under way."""
    from optuna.trial import TrialState

    before = 0
    for each in study.get_trials(deepcopy=False):
        owner = each.user_attrs.get(_WORKER, "")
        if each.state == TrialState.RUNNING and not journal.is_alive(owner or "-"):
            study.tell(each.number, state=TrialState.FAIL)  # without a reason: interrupted
        elif each.state != TrialState.FAIL or studied.REASON in each.user_attrs:
            before += 1
    if before >= plan.trials:
        return None
    study.sampler = _sampler(plan, before)
    trial = study.ask()
    trial.set_user_attr(_WORKER, worker)
    return trial


def _try(
    study: optuna.Study,
    trial: optuna.trial.Trial,
    plan: SearchPlan,
    suggest: Suggest,
    measure: MeasureTrial,
) -> None:
    """A trial from its hyperparameters to what came of it, in the journal."""
    from optuna.trial import TrialState

    state, values = TrialState.FAIL, None
    try:
        given = dict(suggest(trial))
        trial.set_user_attr(studied.GIVEN, given)
        found = measure(trial.number, given, _watch(trial, plan))
        trial.set_user_attr(studied.MEASURED, dict(found.measured))
        trial.set_user_attr(studied.CURVE, dict(found.curve))
        values = [_value(found, each) for each in plan.objectives]
        trial.set_constraint("edge", found.violation)
        if found.unmet:
            trial.set_user_attr(studied.REASON, " ".join(found.unmet))
        state = TrialState.COMPLETE
    except TrialPrunedError as pruned:
        trial.set_user_attr(studied.REASON, str(pruned))
        state = TrialState.PRUNED
    except (TrialFailedError, EdgelineError) as failure:
        trial.set_user_attr(studied.REASON, str(failure))
    except BaseException:  # an interrupt, or a mistake of ours: the trial has no reason then
        study.tell(trial, state=TrialState.FAIL)
        raise
    study.tell(trial, values if state == TrialState.COMPLETE else None, state=state)
    done = studied.outcome(study.trials[trial.number], plan.objectives)
    numbers = ", ".join(f"{name} {value:.6g}" for name, value in done.values.items())
    print(f"trial {done.number}: {done.state}. {numbers} {done.reason}".rstrip(), flush=True)


def _value(found: TrialMeasurement, objective: Objective) -> float:
    value = found.measured.get(objective.name, math.nan)
    if not math.isfinite(value):
        raise TrialFailedError(f"{objective.name} is not a finite number: {value}.")
    return value


def _watch(trial: optuna.trial.Trial, plan: SearchPlan) -> EpochWatch | None:
    """What a training tells its validation loss after each epoch; None where nothing is pruned.

    It may run in another process, where the trial goes through the journal.
    """
    if not plan.pruning:
        return None
    # Optuna's pruner takes what is reported to be better as the objective is
    sign = -1.0 if plan.objectives[0].is_maximized else 1.0

    def watch(epoch: int, loss: float) -> None:
        trial.report(sign * loss, epoch)
        if trial.should_prune():
            raise TrialPrunedError(
                f"Ended after epoch {epoch}, where its validation loss of {loss:.4g} was above the "
                "median of the others."
            )

    return watch


def _side_by_side(
    plan: SearchPlan,
    suggest: Suggest,
    measure: MeasureTrial,
    journal: Journal,
    identity: Mapping[str, Any],
    ends: float,
) -> None:
    """Several workers in processes of their own, until there is nothing to do for them."""
    if sys.platform != "linux":
        raise EdgelineError("jobs above 1 needs Linux: a worker is a fork of this process.")
    context = multiprocessing.get_context("fork")

    def work() -> None:
        with _interruptible():
            _work(_opened(plan, journal, identity), plan, suggest, measure, journal, ends)

    workers = [context.Process(target=work) for _ in range(plan.jobs)]
    for each in workers:
        each.start()
    try:
        for each in workers:
            each.join()
    finally:
        for each in workers:
            if each.is_alive() and each.pid:
                os.kill(each.pid, signal.SIGINT)
        for each in workers:
            each.join(GRACE)
            if each.is_alive():
                each.kill()
                each.join()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ended by an interrupt without a traceback: whoever sent it says what there is to say."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        os._exit(130)
