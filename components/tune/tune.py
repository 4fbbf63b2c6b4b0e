"""The worker of `tune`: the hyperparameters of the best edge model, and what else was tried.

`study/v1` holds `trials.json`, what became of each trial, and `journal.log`, Optuna's journal. Its
metadata: `chosen` (a trial's number), `hyperparameters`, `values`, `rule`, `objectives`, how many
trials there are by state, `front` (numbers), `importances` and `notes`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeline import artifacts, user_code
from edgeline.artifacts import examples
from edgeline.artifacts.candidates import APPROVED, CandidateOutcome
from edgeline.components.choose.rule import ChoiceRule
from edgeline.components.tune import (
    database_journal,
    journal,
    measuring,
    objectives,
    report,
    search,
    space,
    studied,
)
from edgeline.components.tune.folder_journal import FolderJournal
from edgeline.components.tune.journal import Journal
from edgeline.components.tune.measuring import TrialInputs, TrialSettings
from edgeline.components.tune.objectives import LATENCY, SIZE, Objective
from edgeline.components.tune.outcome import (
    COMPLETE,
    INFEASIBLE,
    INTERRUPTED,
    TrialFailedError,
    TrialMeasurement,
    TrialOutcome,
)
from edgeline.components.tune.search import SearchPlan
from edgeline.errors import EdgelineError, refuse_all

SCHEMA = "study/v1"
TRIALS = "trials.json"
FUNCTION = "search_space"  # in the user's module
BESIDE = "search"  # beside the artifact, where no study is named


def tune(
    given: TrialInputs,
    settings: TrialSettings,
    plan: SearchPlan,
    rule: ChoiceRule,
    study_path: str,
    tuning_report_path: str,
    search_space: Mapping[str, Any] | None = None,
    study_folder: str = "",
) -> dict[str, Any]:
    """Search, choose, and write a `study/v1` folder and a page about all trials.

    Args:
        rule: chooses among the complete trials; see `objectives.rule_of`.
        study_path: the folder to write.
        tuning_report_path: the HTML page to write.
        search_space: as `edgeline.components.tune.space.parse` takes it; empty: the function
            `search_space(trial)` of the user's module.
        study_folder: a folder or a PostgreSQL database for the search's journal that outlives this
            task; "" for one beside `study_path`.

    Returns:
        the metadata. `hyperparameters` are those of the settings and what the search chose.

    Raises:
        EdgelineError: an input is damaged, the space, a compiler or the function is missing, the
            folder holds another search, the database does not answer, or no trial is complete.
    """
    transformed = artifacts.read(given.transformed_examples_path, examples.TRANSFORMED_SCHEMA)
    rows = artifacts.read(given.examples_path, examples.SCHEMA)
    refuse_all(list(objectives.faults(plan.objectives, settings.quantisation)))
    dimensions = space.parse(search_space or {}, "search_space")
    suggest = _suggestion(settings.module, dimensions)
    measuring.import_once()
    known = {
        "rows": [rows.digest, transformed.digest],
        "module": hashlib.sha256(user_code.read_source(settings.module)).hexdigest(),
        "search space": [asdict(each) for each in dimensions],
        "settings": _settings(settings),
    }
    identity = search.identified(plan, known)
    kept = _journal(study_folder, study_path, identity)
    trials = search.search(plan, suggest, _measure(given, settings), kept, identity)
    best, told = choose(trials, plan.objectives, rule)
    front = studied.front(trials, plan.objectives)
    metadata: dict[str, Any] = {
        "chosen": best.number,
        "hyperparameters": {**settings.hyperparameters, **best.hyperparameters},
        "values": dict(best.values),
        "rule": told,
        "metric": rule.choose_by,
        "objectives": [asdict(each) for each in plan.objectives],
        "states": dict(Counter(each.state for each in trials)),
        "front": [each.number for each in front],
        "importances": studied.importances(kept, plan.objectives, trials),
        "notes": _notes(settings, plan, trials),
        "sampler": plan.sampler,
        "seed": plan.sampler_seed,
    }
    with artifacts.writing(study_path, SCHEMA) as draft:
        artifacts.write_json(draft.path / TRIALS, [each.to_json() for each in trials])
        kept.copy(draft.path / journal.FILE)
        draft.metadata |= metadata
    report.write(tuning_report_path, trials, plan.objectives, metadata, dimensions)
    if isinstance(kept, FolderJournal) and not study_folder:
        shutil.rmtree(kept.folder)
    print(f"Trial {best.number} is chosen. {told}", flush=True)
    return {
        "edgeline_schema": SCHEMA,
        **metadata,
        "trials": sum(each.counts for each in trials),
        "measured": dict(best.measured),
    }


def choose(
    trials: Sequence[TrialOutcome], wanted: Sequence[Objective], rule: ChoiceRule
) -> tuple[TrialOutcome, str]:
    """The trial that goes on, and the rule in a sentence.

    Of trials that are equally good by the rule, one that no other beats in every objective is
    before the others.

    Raises:
        EdgelineError: no trial is complete, or none has the number that decides.
    """
    complete = [each for each in trials if each.state == COMPLETE]
    if not complete:
        raise EdgelineError(_none_complete(trials))
    best = {each.number for each in studied.front(trials, wanted)}
    ordered = sorted(complete, key=lambda each: (each.number not in best, each.number))
    outcomes = [
        CandidateOutcome(
            name=str(each.number),
            state=APPROVED,
            metrics=each.measured,
            size=int(each.measured[SIZE]) if SIZE in each.measured else None,
            p99_ms=each.measured.get(LATENCY),
        )
        for each in ordered
    ]
    chosen = rule.order(outcomes)[0].name
    words = rule.words(rule.choose_by)
    return next(each for each in complete if str(each.number) == chosen), words


def _none_complete(trials: Sequence[TrialOutcome]) -> str:
    infeasible = [each for each in trials if each.state == INFEASIBLE]
    if infeasible:
        reason, often = Counter(each.reason for each in infeasible).most_common(1)[0]
        return (
            f"None of {len(trials)} trials gives an edge model that could be published; "
            f"{len(infeasible)} miss what is required, {often} of them so: "
            f"{reason.rstrip('.')}. Ask for less, or search elsewhere."
        )
    return "No trial was finished in the time: give a larger search_seconds, or smaller trainings."


def _suggestion(module: str, dimensions: tuple[space.Dimension, ...]) -> search.Suggest:
    """What gives a trial's hyperparameters: the object, or the user's function."""
    if dimensions:
        return functools.partial(space.suggest, space=dimensions)
    loaded = user_code.load(module)
    if not hasattr(loaded, FUNCTION):
        raise EdgelineError(
            f"There is nothing to search: give search_space, or write {FUNCTION}(trial) in the "
            "module, which returns hyperparameters."
        )
    function = user_code.function(loaded, FUNCTION)

    def suggest(trial: Any) -> Mapping[str, Any]:
        try:
            found = function(trial)
            if not isinstance(found, Mapping):
                raise TrialFailedError(f"{FUNCTION} gave {type(found).__name__}, not a dict.")
            given: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
            return given
        except TrialFailedError:
            raise
        except Exception as error:
            raise TrialFailedError(user_code.describe(error, FUNCTION)) from error

    return suggest


def _journal(study_folder: str, study_path: str, identity: Mapping[str, Any]) -> Journal:
    """Where the search's trials are kept: where it was said, else beside its output.

    A run here that goes on has its outputs in a new folder beside that of the attempt before, where
    the journal is found again.
    """
    if database_journal.is_database(study_folder):
        return database_journal.of(study_folder, identity)
    if study_folder:
        return FolderJournal(Path(study_folder))
    text = json.dumps(identity, sort_keys=True)
    own = Path(study_path).parent
    name = f"{BESIDE}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    attempts = own.parent.parent.glob(f"*/{own.name}/{name}")
    return FolderJournal(next(iter(sorted(attempts)), own / name))


def _measure(given: TrialInputs, settings: TrialSettings) -> search.MeasureTrial:
    def measure(
        number: int, hyperparameters: Mapping[str, Any], watch: Callable[[int, float], None] | None
    ) -> TrialMeasurement:
        return measuring.measure(number, hyperparameters, watch, given, settings)

    return measure


def _settings(settings: TrialSettings) -> dict[str, Any]:
    """What of the settings a trial's numbers depend on."""
    known = asdict(settings)
    del known["module"], known["memory_mb"]
    found: dict[str, Any] = json.loads(json.dumps(known))
    return found


def _notes(settings: TrialSettings, plan: SearchPlan, trials: Sequence[TrialOutcome]) -> list[str]:
    notes = []
    counted = sum(each.counts for each in trials)
    if counted < plan.trials:
        notes.append(
            f"The time was over after {counted} of {plan.trials} trials: a run with the same "
            "study_folder goes on."
        )
    if interrupted := sum(each.state == INTERRUPTED for each in trials):
        notes.append(f"{interrupted} trials were interrupted, and others took their place.")
    if later := measuring.judged_later(settings.requirements):
        notes.append(
            f"Of the requirements, {'; '.join(later)}: is judged of the chosen model alone, by "
            "analyze."
        )
    timed = [
        each.name for each in plan.objectives if each.name.endswith("_ms") and each.needs_running
    ]
    if timed and plan.jobs > 1:
        notes.append(
            f"{', '.join(timed)}: measured while {plan.jobs} trials ran side by side, so compare "
            "only what differs by much."
        )
    return notes
