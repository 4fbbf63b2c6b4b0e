"""What a look at a run, or its start, makes of refusals, damage and clocks that jump."""

from __future__ import annotations

import errno
import zlib
from pathlib import Path

import pytest
from made_events import NOW, declared, event

from edgeline.errors import EdgelineError
from edgeline.kubeflow.api import UnavailableError
from edgeline.triggers.here import LocalLauncher
from edgeline.triggers.launching import FoundRun
from edgeline.triggers.runner import FiringRunner
from edgeline.triggers.store import FAILED, RUNNING, STARTING, SUCCEEDED, Firing, TriggerStore


class SlowServer:
    """Makes a run a while after it was asked for, and answers as it is told to."""

    settle, every = 300.0, 15.0

    def __init__(self) -> None:
        self.day, self.now = NOW, 0.0
        self.made: list[float] = []  # when each run that was asked for is there
        self.error: Exception | None = None
        self.found = FoundRun("running", "id")

    def look(self, _: Firing) -> FoundRun:
        if self.error:
            raise self.error
        return self.found if any(at <= self.now for at in self.made) else FoundRun("absent")

    def begin(self, _: Firing) -> str:
        self.now += 80  # it is compiled and uploaded, and then the server is silent
        self.made.append(self.now + 200)
        raise UnavailableError("read timed out")

    def runner(self, store: TriggerStore) -> FiringRunner:
        clocks = {"clock": lambda: self.day, "ticks": lambda: self.now}
        return FiringRunner(store, lambda _: self, 10, **clocks)


@pytest.fixture
def store() -> TriggerStore:
    made = TriggerStore(declared(), None)
    made.take([event("a", "fare")], NOW)
    return made


def only(store: TriggerStore) -> Firing:
    [firing] = store.firings()
    return firing


@pytest.mark.parametrize("jump", [0.0, 86_000.0, -1e9])
def test_a_request_that_is_late_starts_one_run_whatever_the_clock_of_the_day_does(store, jump):
    server = SlowServer()
    runner = server.runner(store)
    for _ in range(60):
        runner.look()
        server.now += 5
        server.day += jump
    assert len(server.made) == 1
    assert (only(store).state, only(store).place) == (RUNNING, "id")


def test_a_restart_waits_as_long_as_if_the_request_had_been_sent_then(store):
    server = SlowServer()
    server.runner(store).look()
    server.day += 100_000  # the clock of the day is wrong, or the machine was off
    runner = server.runner(store)
    for _ in range(40):
        runner.look()
        server.now += 5
    assert len(server.made) == 1


def test_only_its_own_end_ends_a_run(store):
    server = SlowServer()
    runner = server.runner(store)
    runner.look()
    server.now += 201
    runner.look()
    assert only(store).state == RUNNING
    for error in (EdgelineError("refuses (404)"), UnavailableError("away"), zlib.error("-3")):
        server.error = error
        server.now += 600
        server.day += 100_000
        runner.look()
        assert only(store).state == RUNNING
        assert str(error) in only(store).said
    server.error, server.found = None, FoundRun("succeeded", "id")
    server.now += 600
    runner.look()
    assert only(store).state == SUCCEEDED


def test_a_full_disk_is_waited_for(store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here, now, asked = LocalLauncher(tmp_path, tmp_path), [0.0], []

    def full(*_: object) -> None:
        asked.append(now[0])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(here, "_command", lambda *_: ["true"])
    monkeypatch.setattr(here, "_start", full)
    runner = FiringRunner(store, lambda _: here, 10, lambda: NOW, ticks=lambda: now[0])
    for _ in range(100):
        runner.look()
        now[0] += 1
    assert (only(store).state, only(store).tries) == (STARTING, 0)
    assert "No space left on device" in only(store).said
    assert asked == [0, 2, 4, 8, 16, 32, 64]
    monkeypatch.setattr(here, "_start", lambda *_: None)
    now[0] += 300
    runner.look()
    assert (only(store).state, only(store).tries, only(store).said) == (RUNNING, 1, "")


def test_a_damaged_run_holds_up_no_other(tmp_path: Path):
    store = TriggerStore(declared(quorum=1), None)
    store.take([event("a", "fare")], NOW)
    first = only(store)
    store.change(first, state=FAILED, ended=NOW)
    later = NOW + 100_000
    store.take([event("a", "fare", time=later)], later)
    second = store.firings()[1]
    store.change(first, state=STARTING, begun=NOW)

    class Damaged(LocalLauncher):
        def look(self, firing: Firing) -> FoundRun:
            if firing.mark == first.mark:
                raise zlib.error("Error -3 while decompressing data")
            return FoundRun("succeeded")

    FiringRunner(store, lambda _: Damaged(tmp_path, tmp_path), 10, lambda: later).look()
    states = {each.mark: (each.state, each.said) for each in store.firings()}
    assert states[first.mark] == (STARTING, "error: Error -3 while decompressing data")
    assert states[second.mark] == (SUCCEEDED, "")
