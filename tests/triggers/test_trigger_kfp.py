"""Runs on a KFP server, as its API is documented (tests/kubeflow): a run's name is its mark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from documented_server import DocumentedServer
from made_events import NOW, declared, event
from tiny_pipeline import TINY

from edgeline.triggers import serving, there
from edgeline.triggers.runner import FiringRunner
from edgeline.triggers.store import FAILED, RUNNING, STARTING, SUCCEEDED, Firing, TriggerStore

pytestmark = pytest.mark.slow


@pytest.fixture
def kfp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DocumentedServer]:
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "home" / "context.json"))
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tiny.py").write_text(TINY)
    running = DocumentedServer()
    yield running
    running.shutdown()
    running.server_close()


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def begun(folder: Path, kfp: DocumentedServer, clock: Clock) -> tuple[TriggerStore, FiringRunner]:
    run = {"pipeline": "tiny.py", "where": kfp.address, "parameters": {"word": "{since}"}}
    store = TriggerStore(declared(run=run), folder)
    return store, FiringRunner(store, serving.launchers(folder, folder), 10, clock, ticks=clock)


def only(store: TriggerStore) -> Firing:
    [firing] = store.firings()
    return firing


def test_a_run_is_submitted_once_found_after_a_kill_and_followed_to_its_end(tmp_path, kfp):
    clock = Clock()
    store, runner = begun(tmp_path, kfp, clock)
    store.take([event("a", "fare")], NOW)
    runner.look()
    [run] = kfp.runs.values()
    assert run["display_name"] == only(store).mark
    assert run["runtime_config"]["parameters"]["word"] == "1970-01-01T00:00:00Z"
    assert only(store).state == RUNNING

    # killed after the server had made the run, and before that was kept
    store.change(only(store), state=STARTING, place="")
    store.close()
    store, runner = begun(tmp_path, kfp, clock)
    runner.look()
    assert len(kfp.runs) == 1
    assert only(store).place == run["run_id"]

    run["state"] = "SUCCEEDED"
    clock.now += 60
    runner.look()
    assert (only(store).state, len(kfp.runs)) == (SUCCEEDED, 1)
    store.close()


def test_a_server_that_is_away_is_asked_again_and_only_when_the_run_would_be_there(tmp_path, kfp):
    clock = Clock()
    store, runner = begun(tmp_path, kfp, clock)
    store.take([event("a", "fare")], NOW)
    # the kill came with the request: nobody knows yet whether the run is made
    store.change(only(store), state=STARTING, begun=NOW, tries=1)
    runner.look()
    assert not kfp.runs
    clock.now += 61  # the client's own timeout is no proof
    runner.look()
    assert not kfp.runs
    clock.now += there.SETTLE
    kfp.troubles = [503] * 40
    runner.look()
    assert only(store).state == STARTING
    assert only(store).said
    kfp.troubles = []
    clock.now += 61
    runner.look()
    assert len(kfp.runs) == 1
    assert (only(store).state, only(store).tries) == (RUNNING, 2)
    store.close()


def test_a_server_that_refuses_to_answer_ends_no_run(tmp_path, kfp):
    clock = Clock()
    store, runner = begun(tmp_path, kfp, clock)
    store.take([event("a", "fare")], NOW)
    runner.look()
    [run] = kfp.runs.values()
    token, kfp.token = kfp.token, "another"
    clock.now += 60
    runner.look()
    assert only(store).state == RUNNING
    assert "401" in only(store).said or "token" in only(store).said
    kfp.token = token
    del kfp.runs[run["run_id"]]  # that it is gone the server itself tells
    clock.now += 60
    runner.look()
    assert only(store).state == FAILED
    assert "does not have it any more" in only(store).said
    store.close()


def test_a_run_that_cannot_be_begun_waits_for_a_day(tmp_path, kfp):
    clock = Clock()
    kfp.token = "another"
    store, runner = begun(tmp_path, kfp, clock)
    store.take([event("a", "fare")], NOW)
    for _ in range(20):
        runner.look()
        clock.now += 300
    assert (only(store).state, only(store).tries) == (STARTING, 0)
    assert only(store).said
    clock.now += 86_400
    runner.look()
    assert only(store).state == FAILED
    assert "could not be begun for 24 hours" in only(store).said
    assert not kfp.runs
    store.close()
