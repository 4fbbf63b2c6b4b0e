"""kill -9 at every step of a server, and again while it recovers: nothing is lost, and nothing runs
twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_events import NOW, declared, event

from edgeline.triggers.here import LocalLauncher
from edgeline.triggers.runner import FiringRunner
from edgeline.triggers.store import OPEN, SUCCEEDED, TriggerStore

RULES = declared(quorum=2)
EVENTS = [event("a", "fare"), event("b", "fare"), event("b", "fare", id="one more")]
RAN = "import os, sys; os.write(os.open(sys.argv[1], 1025 | os.O_CREAT), b'ran\\n')"


class Steps:
    """Ends the process with SIGKILL at a step; at none where it is 0."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalStore(TriggerStore):
    step: Callable[[], None] = staticmethod(lambda: None)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.step()
        with super()._transaction():
            yield
            self.step()  # all is written, and nothing is kept
        self.step()


class MortalLauncher(LocalLauncher):
    step: Callable[[], None] = staticmethod(lambda: None)

    def _start(self, *given: object) -> None:
        self.step()
        super()._start(*given)
        self.step()  # the run has begun, and nobody has noted it

    def _command(self, _: object, folder: Path) -> list[str]:
        return [sys.executable, "-S", "-c", RAN, str(folder.parents[1] / "ran.txt")]


def live(folder: Path, step: Steps) -> int:
    """What a server does, in a process of its own: takes all events, which are sent again until it
    answers, and has the runs go on. Its exit status: 0 where all has ended, 9 where it was killed.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    try:
        store = MortalStore(RULES, folder)
        store.step = step
        here = MortalLauncher(folder, folder)
        here.step = step
        runner = FiringRunner(store, lambda _: here, 10, clock=lambda: NOW)
        for each in EVENTS:
            store.take([each], NOW)
        end = time.monotonic() + 60
        while store.firings(*OPEN) and time.monotonic() < end:
            runner.look()
            time.sleep(0.05)
        os._exit(1 if store.firings(*OPEN) else 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(2)


def check(folder: Path) -> None:
    assert (folder / "ran.txt").read_text() == "ran\n"
    store = TriggerStore(RULES, folder, read_only=True)
    [firing] = store.firings()
    assert (firing.state, firing.devices) == (SUCCEEDED, ("/a", "/b"))
    assert store.held[0] == 3


@pytest.mark.slow
def test_a_kill_at_each_step_loses_no_run_and_starts_none_twice(tmp_path):
    steps = 0
    for step in range(1, 200):
        folder = tmp_path / str(step)
        folder.mkdir()
        code = live(folder, Steps(step))
        if code == 0:
            check(folder)
            break
        assert code == -signal.SIGKILL
        steps += 1
        assert live(folder, Steps(0)) == 0
        check(folder)
    assert code == 0 and steps >= 15  # events, decision, start, note, end: each before and after


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_kills_at_random_again_and_again(seed, tmp_path):
    chance = random.Random(seed)
    kills = 0
    while (code := live(tmp_path, Steps(chance.randint(1, 25) if kills < 8 else 0))) != 0:
        assert code == -signal.SIGKILL
        kills += 1
    check(tmp_path)
