"""A search's journal in a real PostgreSQL server, where one is installed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from test_tune_search import AUC, IDENTITY, given, measure, run

from edgeline.components.tune import database_journal, journal, search, studied
from edgeline.components.tune.database_journal import DatabaseJournal
from edgeline.components.tune.folder_journal import FolderJournal
from edgeline.components.tune.outcome import COMPLETE, INTERRUPTED
from edgeline.components.tune.search import SearchPlan
from edgeline.errors import EdgelineError, UsageError

pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.running() as url:
        yield url


@pytest.fixture
def kept(server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """The journal of a search of the test's own."""
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    return database_journal.of(server, {"of": request.node.name})


def test_a_search_in_a_database_is_that_in_a_folder(kept: DatabaseJournal, tmp_path: Path) -> None:
    plan = SearchPlan((AUC,), trials=12)
    found = run(plan, kept)
    assert given(found) == given(run(plan, tmp_path / "folder"))
    kept.copy(tmp_path / journal.FILE)  # what the artifact keeps
    copied = search.search(
        plan, lambda _: {}, measure, FolderJournal(tmp_path), search.identified(plan, IDENTITY)
    )
    assert [each.values for each in copied] == [each.values for each in found]
    assert studied.importances(kept, (AUC,), found)
    with pytest.raises(EdgelineError, match="holds another search, whose rows is not the same"):
        run(plan, kept, identity={**IDENTITY, "rows": "others"})


def test_tasks_and_workers_share_it_and_a_killed_one_leaves_its_trial(
    kept: DatabaseJournal,
) -> None:
    def fragile(number, hyperparameters, watch):
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return measure(number, hyperparameters, watch)

    plan = SearchPlan((AUC,), trials=8)
    context = multiprocessing.get_context("fork")
    tasks = [context.Process(target=run, args=(plan, kept, fragile)) for _ in range(3)]
    for each in tasks:
        each.start()
    for each in tasks:
        each.join()
    assert sorted(each.exitcode for each in tasks) == [-signal.SIGKILL, 0, 0]
    found = run(SearchPlan((AUC,), trials=10, jobs=2), kept)
    assert [each.state for each in found if each.counts] == [COMPLETE] * 10
    assert found[2].state == INTERRUPTED


def test_a_step_that_is_a_fork_reports_its_epochs(kept: DatabaseJournal) -> None:
    """As a training does, whose trial is pruned by what it tells."""

    def learning(number, hyperparameters, watch):
        def train() -> None:
            for epoch in range(1, 9):  # more than psycopg prepares statements after
                watch(epoch, 1.0 / epoch)

        process = multiprocessing.get_context("fork").Process(target=train)
        process.start()
        for _ in range(8):
            kept.is_alive("nobody")
        process.join()
        assert process.exitcode == 0
        return measure(number, hyperparameters, watch)

    found = run(SearchPlan((AUC,), trials=4, pruning="median"), kept, learning)
    assert [each.state for each in found] == [COMPLETE] * 4


def test_a_worker_is_alive_as_long_as_its_connection(kept: DatabaseJournal) -> None:
    with kept.worker() as name:
        assert kept.is_alive(name)
    assert not kept.is_alive(name)
    assert not kept.is_alive("nobody")


def test_a_server_that_is_lost_loses_no_trial(kept: DatabaseJournal) -> None:
    def lost(number, hyperparameters, watch):
        if number == 3:
            with kept._connected() as connection:  # as when the server is restarted
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
        return measure(number, hyperparameters, watch)

    plan = SearchPlan((AUC,), trials=6)
    found = run(plan, kept, lost)
    assert [each.state for each in found] == [COMPLETE] * 6


def test_what_cannot_be_reached_is_told_in_a_sentence(
    kept: DatabaseJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(EdgelineError, match=r"postgres does not answer .*no password"):
        run(SearchPlan((AUC,)), kept)
    with pytest.raises(EdgelineError, match=r"does not answer as it should .*PGPASSWORD"):
        run(SearchPlan((AUC,)), database_journal.of("postgresql://me@localhost:1/x", {}))
    with pytest.raises(UsageError, match="study_folder has the password of") as refused:
        database_journal.of("postgresql://me:geheim@db/x", IDENTITY)
    assert "geheim" not in json.dumps(str(refused.value))
