"""The search: Optuna's samplers over a journal that outlives a kill. The one user of Optuna here.

A folder holds the journal of one search. Workers, of one process or of several that see the folder,
take turns in asking for a trial and go their own ways with it. Each trial's sampler is seeded by
the search's seed and by how many trials there were before, so a search that one worker goes on with
after a kill makes the trials that it would have made without.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeline.components.tune import locks
from edgeline.components.tune.objectives import Objective
from edgeline.components.tune.outcome import (
    COMPLETE,
    FAILED,
    INFEASIBLE,
    INTERRUPTED,
    PRUNED,
    TrialFailedError,
    TrialMeasurement,
    TrialOutcome,
    TrialPrunedError,
)
from edgeline.errors import EdgelineError
from edgeline.extras import install_hint

if TYPE_CHECKING:
    import optuna

JOURNAL, NAME = "journal.log", "edgeline"
TPE, NSGA2, RANDOM = "tpe", "nsga2", "random"
SAMPLERS = (TPE, NSGA2, RANDOM)
MEDIAN = "median"
PRUNERS = ("", MEDIAN)
STARTUP = 8  # trials by chance before a sampler or a pruner goes by the others
POPULATION = 8  # of NSGA-II: Optuna's 50 are more than most searches here have trials
GRACE = 10  # seconds that a worker has to end its trial's step
_REASON, _GIVEN, _MEASURED, _CURVE, _WORKER = "reason", "given", "measured", "curve", "worker"

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


def search(
    plan: SearchPlan,
    suggest: Suggest,
    measure: MeasureTrial,
    folder: Path,
    identity: Mapping[str, Any],
) -> list[TrialOutcome]:
    """Try hyperparameters until there are as many trials as asked for, or the time is over.

    Args:
        suggest: gives a trial's hyperparameters, by Optuna's trial.
        measure: trains and measures; is told the trial's number, its hyperparameters, and what to
            call with each epoch (from 1) and its validation loss. May raise TrialFailedError, and
            what that call raises (TrialPrunedError).
        folder: for the journal; that of an earlier run of the same search goes on.
        identity: what all trials have in common, as JSON; the objectives and the sampler are known.

    Returns:
        all trials of the journal, interrupted ones among them.

    Raises:
        EdgelineError: Optuna is not installed, the folder holds another search or is damaged, or
            no trial of the search could be measured.
    """
    study = _opened(plan, folder, identity)
    ends = time.monotonic() + plan.search_seconds if plan.search_seconds else math.inf
    if plan.jobs > 1:
        _side_by_side(plan, suggest, measure, folder, identity, ends)
    _work(study, plan, suggest, measure, folder, ends)
    found = outcomes(study, plan.objectives)
    counted = [each for each in found if each.counts]
    failed = [each for each in counted if each.state == FAILED]
    if counted and len(failed) == len(counted):
        reason, often = Counter(each.reason for each in failed).most_common(1)[0]
        raise EdgelineError(
            f"All {len(failed)} trials failed, {often} of them so: {reason.rstrip('.')}. Mend "
            "that, or narrow the search space."
        )
    return found


def outcomes(study: optuna.Study, objectives: Sequence[Objective]) -> list[TrialOutcome]:
    """The trials of a study that have ended, by their numbers."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            found.append(_outcome(trial, objectives))
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
    folder: Path, objectives: Sequence[Objective], trials: Sequence[TrialOutcome]
) -> dict[str, dict[str, float]]:
    """How much each hyperparameter has to do with each objective, by PED-ANOVA, as shares of 1.

    Watanabe et al., 2023: which parameters' values set the best tenth of the trials apart; nothing
    of fewer than ten trials. Values that a loop or condition asks for have a share of their own.
    """
    import optuna

    measured = [each for each in trials if each.values]
    if len(measured) < 10:
        return {}
    study = _load(folder)
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


def _opened(plan: SearchPlan, folder: Path, identity: Mapping[str, Any]) -> optuna.Study:
    """The study of a folder, made where there is none."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise EdgelineError(f"The search needs Optuna. {install_hint(error)}.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgelineError(
            f"{folder} cannot be made ({error.strerror}): name another folder as study_folder."
        ) from error
    own = {
        **identity,
        "objectives": [f"{each.direction} {each.name}" for each in plan.objectives],
        "sampler": f"{plan.sampler}, seed {plan.sampler_seed}, pruning {plan.pruning or 'none'}",
    }
    with locks.turn(folder):
        _cut_torn_line(folder / JOURNAL)
        try:
            study = optuna.create_study(
                storage=_storage(folder),
                study_name=NAME,
                directions=[_direction(each) for each in plan.objectives],
                pruner=_pruner(plan),
                load_if_exists=True,
            )
            before = study.user_attrs.get("identity")
        except (ValueError, KeyError, OSError) as error:
            raise EdgelineError(
                f"{folder / JOURNAL} is not a journal of a search, or is damaged ({error}): name "
                "another folder as study_folder."
            ) from error
        if before is None:
            study.set_user_attr("identity", own)
        elif other := [name for name in {**before, **own} if before.get(name) != own.get(name)]:
            raise EdgelineError(
                f"{folder} holds another search, whose {' and '.join(other)} "
                f"{'are' if len(other) > 1 else 'is'} not the same: name another folder as "
                "study_folder, or remove it."
            )
    return study


def _storage(folder: Path) -> optuna.storages.JournalStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))


def _load(folder: Path) -> optuna.Study:
    import optuna

    return optuna.load_study(study_name=NAME, storage=_storage(folder))


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


def _cut_torn_line(journal: Path) -> None:
    """Remove a last line without an end, which a killed process or a full disk left: what is
    written behind it could not be read."""
    if not journal.is_file():
        return
    content = journal.read_bytes()
    if content and not content.endswith(b"\n"):
        with open(journal, "r+b") as stream:
            stream.truncate(content.rfind(b"\n") + 1)


def _work(
    study: optuna.Study,
    plan: SearchPlan,
    suggest: Suggest,
    measure: MeasureTrial,
    folder: Path,
    ends: float,
) -> None:
    """Try one set of hyperparameters after the other."""
    with locks.worker(folder) as worker:
        while time.monotonic() < ends:
            with locks.turn(folder):
                trial = _next(study, plan, folder, worker)
            if trial is None:
                return
            _try(study, trial, plan, suggest, measure)


def _next(
    study: optuna.Study, plan: SearchPlan, folder: Path, worker: str
) -> optuna.trial.Trial | None:
    """Ask for a trial; None where there are enough, ended or under way."""
    from optuna.trial import TrialState

    before = 0
    for each in study.get_trials(deepcopy=False):
        owner = each.user_attrs.get(_WORKER, "")
        if each.state == TrialState.RUNNING and not locks.is_alive(folder, owner or "-"):
            study.tell(each.number, state=TrialState.FAIL)  # without a reason: interrupted
        elif each.state != TrialState.FAIL or _REASON in each.user_attrs:
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
        trial.set_user_attr(_GIVEN, given)
        found = measure(trial.number, given, _watch(trial, plan))
        trial.set_user_attr(_MEASURED, dict(found.measured))
        trial.set_user_attr(_CURVE, dict(found.curve))
        values = [_value(found, each) for each in plan.objectives]
        trial.set_constraint("edge", found.violation)
        if found.unmet:
            trial.set_user_attr(_REASON, " ".join(found.unmet))
        state = TrialState.COMPLETE
    except TrialPrunedError as pruned:
        trial.set_user_attr(_REASON, str(pruned))
        state = TrialState.PRUNED
    except (TrialFailedError, EdgelineError) as failure:
        trial.set_user_attr(_REASON, str(failure))
    except BaseException:  # an interrupt, or a mistake of ours: the trial has no reason then
        study.tell(trial, state=TrialState.FAIL)
        raise
    study.tell(trial, values if state == TrialState.COMPLETE else None, state=state)
    done = _outcome(study.trials[trial.number], plan.objectives)
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


def _outcome(trial: optuna.trial.FrozenTrial, objectives: Sequence[Objective]) -> TrialOutcome:
    from optuna.trial import TrialState

    told = trial.user_attrs
    reason, values = str(told.get(_REASON, "")), {}
    if trial.state == TrialState.COMPLETE:
        state = INFEASIBLE if any(x > 0 for x in trial.constraints.values()) else COMPLETE
        values = {o.name: float(x) for o, x in zip(objectives, trial.values, strict=True)}
    elif trial.state == TrialState.PRUNED:
        state = PRUNED
    else:
        state = FAILED if reason else INTERRUPTED
        reason = reason or "Its process ended before it did; it does not count."
    curve = told.get(_CURVE, {})
    if not curve and trial.intermediate_values:
        sign = -1.0 if objectives[0].is_maximized else 1.0  # see `_watch`
        reported = sorted(trial.intermediate_values.items())
        curve = {"val_loss": [sign * value for _, value in reported]}
    return TrialOutcome(
        number=trial.number,
        state=state,
        hyperparameters=told.get(_GIVEN, {}),
        values=values,
        reason=reason,
        measured=told.get(_MEASURED, {}),
        curve=curve,
        seconds=trial.duration.total_seconds() if trial.duration else 0.0,
    )


def _side_by_side(
    plan: SearchPlan,
    suggest: Suggest,
    measure: MeasureTrial,
    folder: Path,
    identity: Mapping[str, Any],
    ends: float,
) -> None:
    """Several workers in processes of their own, until there is nothing to do for them."""
    if sys.platform != "linux":
        raise EdgelineError("jobs above 1 needs Linux: a worker is a fork of this process.")
    context = multiprocessing.get_context("fork")

    def work() -> None:
        with _interruptible():
            _work(_opened(plan, folder, identity), plan, suggest, measure, folder, ends)

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
