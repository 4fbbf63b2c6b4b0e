"""The search, over a function that measures in microseconds: seeds, kills, journals, fronts."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from edgeline.components.tune import journal, search, space, studied
from edgeline.components.tune.folder_journal import FolderJournal
from edgeline.components.tune.objectives import Objective, rule_of
from edgeline.components.tune.outcome import (
    COMPLETE,
    FAILED,
    INFEASIBLE,
    INTERRUPTED,
    PRUNED,
    TrialFailedError,
    TrialMeasurement,
)
from edgeline.components.tune.search import SearchPlan
from edgeline.components.tune.tune import _journal, choose
from edgeline.errors import EdgelineError

AUC, SIZE = Objective("auc", "maximize"), Objective("size_bytes", "minimize")
SPACE = space.parse({"x": {"low": 0.0, "high": 4.5}, "units": {"choices": [8, 16, 32, 64]}})
BINARY = "binary_classification"
IDENTITY = {"rows": "those", "search space": [asdict(each) for each in SPACE]}


def suggest(trial):
    return space.suggest(trial, SPACE)


def measure(_number, given, _watch):
    auc = 1 - (given["x"] - 3) ** 2 / 20 - 1 / given["units"]
    return TrialMeasurement({"auc": auc, "size_bytes": 100.0 * given["units"]})


def run(plan, place, measure=measure, suggest=suggest, identity=IDENTITY):
    kept = FolderJournal(place) if isinstance(place, Path) else place
    return search.search(plan, suggest, measure, kept, search.identified(plan, identity))


def given(trials):
    return [each.hyperparameters for each in trials if each.counts]


@pytest.mark.parametrize("sampler", search.SAMPLERS)
def test_the_same_seed_gives_the_same_trials_and_another_gives_others(tmp_path, sampler) -> None:
    def trials(folder, seed):
        plan = SearchPlan((AUC, SIZE), trials=14, sampler=sampler, sampler_seed=seed)
        return given(run(plan, tmp_path / folder))

    first = trials("a", 1)
    assert len({json.dumps(each) for each in first}) > 10
    assert trials("b", 1) == first
    assert trials("c", 2) != first


def test_a_search_that_goes_on_makes_the_trials_of_one_that_was_not_interrupted(tmp_path) -> None:
    whole = given(run(SearchPlan((AUC,), trials=15), tmp_path / "whole"))

    def interrupted(number, hyperparameters, watch):
        if number == 11:
            raise KeyboardInterrupt
        return measure(number, hyperparameters, watch)

    with pytest.raises(KeyboardInterrupt):
        run(SearchPlan((AUC,), trials=15), tmp_path / "cut", interrupted)
    found = run(SearchPlan((AUC,), trials=15), tmp_path / "cut")
    assert [each.state for each in found].count(INTERRUPTED) == 1
    assert given(found) == whole
    assert given(run(SearchPlan((AUC,), trials=17), tmp_path / "cut"))[:15] == whole
    assert len(given(run(SearchPlan((AUC,), trials=3), tmp_path / "cut"))) == 17  # nothing to do


KILLED = """
import os, sys
sys.path.insert(0, {folder!r})
from test_tune_search import AUC, SearchPlan, measure, run
from pathlib import Path

def killed(number, hyperparameters, watch):
    if number == 3:
        os.kill(os.getpid(), 9)
    return measure(number, hyperparameters, watch)

run(SearchPlan((AUC,), trials=6), Path({study!r}), killed)
"""


def test_a_kill_loses_no_trial_that_was_finished(tmp_path) -> None:
    code = KILLED.format(folder=str(Path(__file__).parent), study=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
    assert done.returncode == -signal.SIGKILL
    with open(tmp_path / journal.FILE, "a", encoding="utf-8") as stream:
        stream.write('{"op_code": 5, "wor')  # what a disk that was full kept of a line
    found = run(SearchPlan((AUC,), trials=6), tmp_path)
    states = [each.state for each in found]
    assert states == [COMPLETE] * 3 + [INTERRUPTED] + [COMPLETE] * 3
    assert "does not count" in found[3].reason
    again = run(SearchPlan((AUC,), trials=6), tmp_path)
    assert [each.values for each in again] == [each.values for each in found]


def test_workers_side_by_side_share_the_trials(tmp_path) -> None:
    def slow(number, hyperparameters, watch):
        (tmp_path / f"{os.getpid()}-{number}").touch()
        time.sleep(0.03)  # the others' turn
        return measure(number, hyperparameters, watch)

    found = run(SearchPlan((AUC,), trials=9, jobs=3), tmp_path / "study", slow)
    assert [each.state for each in found] == [COMPLETE] * 9
    workers = {each.name.split("-")[0] for each in tmp_path.glob("*-*")}
    assert len(workers) > 1 and str(os.getpid()) not in workers


def test_two_tasks_that_see_one_folder_share_a_search(tmp_path) -> None:
    plan = SearchPlan((AUC,), trials=8)
    context = multiprocessing.get_context("fork")
    tasks = [context.Process(target=run, args=(plan, tmp_path)) for _ in range(2)]
    for each in tasks:
        each.start()
    for each in tasks:
        each.join()
        assert each.exitcode == 0
    assert len(given(run(plan, tmp_path))) == 8


def test_a_worker_that_is_killed_leaves_its_trial_to_the_others(tmp_path) -> None:
    def fragile(number, hyperparameters, watch):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return measure(number, hyperparameters, watch)

    found = run(SearchPlan((AUC,), trials=5, jobs=2), tmp_path, fragile)
    assert [each.state for each in found if each.counts] == [COMPLETE] * 5
    assert found[1].state == INTERRUPTED


def test_a_trial_that_fails_is_kept_with_its_reason_and_the_search_goes_on(tmp_path) -> None:
    def fragile(number, hyperparameters, watch):
        if number == 1:
            raise TrialFailedError("train: its process was killed by SIGKILL.")
        if number == 2:
            return TrialMeasurement({"auc": float("nan")})
        if number == 3:
            return TrialMeasurement({"size_bytes": 3.0})
        if number == 4:
            return TrialMeasurement({"auc": 0.9}, ("size of the model is 3 kB over.",), 0.5)
        return measure(number, hyperparameters, watch)

    found = run(SearchPlan((AUC,), trials=6), tmp_path, fragile)
    assert [(each.state, each.reason) for each in found] == [
        (COMPLETE, ""),
        (FAILED, "train: its process was killed by SIGKILL."),
        (FAILED, "auc is not a finite number: nan."),
        (FAILED, "auc is not a finite number: nan."),
        (INFEASIBLE, "size of the model is 3 kB over."),
        (COMPLETE, ""),
    ]
    best, told = choose(found, (AUC,), rule_of([AUC], BINARY))
    assert best.number in (0, 5) and told.startswith("The highest auc goes on")


def test_where_all_trials_fail_the_commonest_reason_is_told(tmp_path) -> None:
    def failing(number, _given, _watch):
        raise TrialFailedError("train: no such layer." if number else "train: another.")

    with pytest.raises(EdgelineError, match="All 4 trials failed, 3 of them so: train: no such l"):
        run(SearchPlan((AUC,), trials=4), tmp_path, failing)


def test_where_none_could_be_published_the_commonest_reason_is_told(tmp_path) -> None:
    def large(*_):
        return TrialMeasurement({"auc": 0.9}, ("mcu: memory is 2 MB over.",), 2.0)

    found = run(SearchPlan((AUC,), trials=3), tmp_path, large)
    with pytest.raises(
        EdgelineError, match=r"None of 3 trials .* 3 of them so: mcu: memory is 2 MB"
    ):
        choose(found, (AUC,), rule_of([AUC], BINARY))


@pytest.mark.parametrize(
    ("plan", "identity", "what"),
    [
        (SearchPlan((AUC, SIZE)), IDENTITY, "objectives"),
        (SearchPlan((SIZE,)), IDENTITY, "objectives"),
        (SearchPlan((AUC,), sampler="random"), IDENTITY, "sampler"),
        (SearchPlan((AUC,)), {**IDENTITY, "rows": "others"}, "rows"),
        (SearchPlan((AUC,)), {**IDENTITY, "search space": []}, "search space"),
    ],
)
def test_a_journal_of_another_search_is_refused(tmp_path, plan, identity, what) -> None:
    run(SearchPlan((AUC,), trials=1), tmp_path)
    with pytest.raises(EdgelineError, match=f"holds another search, whose {what} is not the same"):
        run(plan, tmp_path, identity=identity)


def test_what_is_no_journal_is_refused(tmp_path) -> None:
    (tmp_path / journal.FILE).write_text("these are\nno operations\n")
    with pytest.raises(
        EdgelineError, match="does not hold a journal of a search, or one that is damaged"
    ):
        run(SearchPlan((AUC,)), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(EdgelineError, match="cannot be made"):
        run(SearchPlan((AUC,)), tmp_path / "file" / "study")


def test_a_trial_that_learns_worse_than_the_median_is_ended(tmp_path) -> None:
    def learning(number, hyperparameters, watch):
        bad = number in (9, 11)
        for epoch in range(1, 6):
            watch(epoch, (2.0 if bad else 1.0) / epoch)
        return measure(number, hyperparameters, watch)

    found = run(SearchPlan((AUC,), trials=13, pruning="median"), tmp_path, learning)
    pruned = [each for each in found if each.state == PRUNED]
    assert [each.number for each in pruned] == [9, 11]
    assert pruned[0].reason == (
        "Ended after epoch 2, where its validation loss of 1 was above the median of the others."
    )
    assert pruned[0].curve == {"val_loss": [2.0, 1.0]}


def test_no_trial_begins_after_the_time(tmp_path) -> None:
    def slow(number, hyperparameters, watch):
        time.sleep(0.02)
        return measure(number, hyperparameters, watch)

    found = run(SearchPlan((AUC,), trials=1000, search_seconds=0.1), tmp_path, slow)
    assert 1 <= len(found) < 20


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sampler": "grid"}, "sampler is 'grid': give one of tpe, nsga2, random"),
        ({"trials": 0}, "trials is 0: give a number of at least 1"),
        ({"jobs": 0}, "jobs is 0"),
        ({"pruning": "median", "objectives": (AUC, SIZE)}, "would end small models early"),
    ],
)
def test_what_is_no_plan_is_refused(fields, said) -> None:
    with pytest.raises(EdgelineError, match=said):
        SearchPlan(**{"objectives": (AUC,), **fields})


def test_the_choice_is_by_the_rule_and_never_beaten(tmp_path) -> None:
    sizes = [40.0, 30.0, 30.0, 10.0]
    aucs = [0.90, 0.95, 0.95, 0.94]

    def table(number, *_):
        measured = {"auc": aucs[number], "size_bytes": sizes[number]}
        return TrialMeasurement({**measured, "latency_p99_ms": 1.0 + number})

    found = run(SearchPlan((AUC, SIZE), trials=4), tmp_path, table)
    assert [each.number for each in studied.front(found, (AUC, SIZE))] == [1, 2, 3]
    rules: list[dict] = [
        {},
        {"tie": "smaller", "tie_within": 0.02},
        {"choose_by": "size_bytes"},
        {"choose_by": "latency_p99_ms"},
    ]
    wanted = [AUC, SIZE]
    chosen = [choose(found, wanted, rule_of(wanted, BINARY, **rule))[0].number for rule in rules]
    assert chosen == [1, 3, 3, 0]
    with pytest.raises(EdgelineError, match="which no trial measures: add it to objectives"):
        rule_of(wanted, BINARY, choose_by="tflite-micro.arena_bytes")


def test_conditions_and_loops_of_a_function_are_searched(tmp_path) -> None:
    def conditional(trial):
        layers = trial.suggest_int("layers", 1, 3)
        return {"units": [trial.suggest_int(f"units_{n}", 4, 64) for n in range(layers)]}

    def sized(_number, given, _watch):
        return TrialMeasurement({"auc": sum(given["units"]) / 200, "size_bytes": 1.0})

    found = run(SearchPlan((AUC,), trials=20), tmp_path, sized, conditional)
    assert {len(each.hyperparameters["units"]) for each in found} == {1, 2, 3}
    told = studied.importances(FolderJournal(tmp_path), (AUC,), found)
    assert {"layers", "units_0"} <= {*told["auc"]}


def test_the_importance_is_that_of_the_parameter_that_decides(tmp_path) -> None:
    wide = space.parse({"x": {"low": 0.0, "high": 4.5}, "noise": {"low": 0.0, "high": 4.5}})

    def decided(_number, given, _watch):
        return TrialMeasurement({"auc": 1 - (given["x"] - 3) ** 2 / 20})

    plan = SearchPlan((AUC,), trials=40, sampler="random")
    found = run(plan, tmp_path, decided, lambda trial: space.suggest(trial, wide))
    told = studied.importances(FolderJournal(tmp_path), (AUC,), found)["auc"]
    assert told["x"] > 0.8 and sum(told.values()) == pytest.approx(1)
    assert not studied.importances(FolderJournal(tmp_path), (AUC,), found[:9])


def test_a_worker_is_alive_as_long_as_its_process(tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def work() -> None:
        with FolderJournal(tmp_path).worker() as name:
            there.send(name)
            signal.pause()

    process = context.Process(target=work)
    process.start()
    name = here.recv()
    assert FolderJournal(tmp_path).is_alive(name)
    process.kill()
    process.join()
    assert not FolderJournal(tmp_path).is_alive(name)
    assert not FolderJournal(tmp_path).is_alive("nobody")


def test_a_run_that_goes_on_finds_the_journal_of_the_attempt_before(tmp_path) -> None:
    def beside(study, plan, identity=IDENTITY):
        return _journal("", str(study), search.identified(plan, identity)).folder

    plan = SearchPlan((AUC,), trials=5)
    first = beside(tmp_path / "run" / "tuned-1" / "tune" / "study", plan)
    first.mkdir(parents=True)
    again = tmp_path / "run" / "tuned-2" / "tune" / "study"
    more = SearchPlan((AUC,), trials=9, jobs=2)
    assert beside(again, plan) == beside(again, more) == first
    for other in (beside(again, plan, {"rows": "x"}), beside(again, SearchPlan((SIZE,)))):
        assert other.parent == again.parent
