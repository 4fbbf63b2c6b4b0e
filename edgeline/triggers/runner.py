"""Every run one step further: what is kept is changed first, and what is begun is looked for first.

    decided -> starting -> running -> succeeded | failed

A step that a kill cuts short is done again after the restart, and finds what it had begun: nothing
is begun that is there, and nothing is taken for begun that is not.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from time import time

from edgeline.errors import EdgelineError
from edgeline.kubeflow.api import UnavailableError
from edgeline.triggers.here import LocalLauncher
from edgeline.triggers.launching import FoundRun, Launcher
from edgeline.triggers.store import (
    DECIDED,
    FAILED,
    OPEN,
    RUNNING,
    STARTING,
    SUCCEEDED,
    Firing,
    TriggerStore,
)

log = logging.getLogger("edgeline.triggers")
TRIES = 5  # how often a run is begun, or gone on with
TICK = 1.0  # seconds between two looks


class FiringRunner:
    """Takes runs further in a thread."""

    def __init__(
        self,
        store: TriggerStore,
        launcher_of: Callable[[Firing], Launcher],
        keep: int,
        clock: Callable[[], float] = time,
        tick: float = TICK,
    ) -> None:
        """`keep` is how many folders of ended runs here stay of each rule."""
        self.seen = clock()  # when the thread last looked at all of them
        self._store, self._launcher_of, self._keep = store, launcher_of, keep
        self._clock, self._tick = clock, tick
        self._asked: dict[str, float] = {}  # when each run was looked for last
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgeline", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something was decided."""
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """Take nothing further; what runs goes on, and is found at the next start."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(seconds)

    def look(self) -> None:
        """Decide what is due, and take each run that has not ended a step further."""
        self._store.look(self._clock())
        for firing in self._store.firings(*OPEN):
            if not self._stopping.is_set():
                self._step(firing)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
                self.seen = self._clock()
            except sqlite3.Error as error:
                log.error("The state cannot be written (%s): it is tried again.", error)
            except Exception:
                log.exception("Taking runs further failed; it is tried again.")
            self._wake.wait(self._tick)
            self._wake.clear()

    def _step(self, firing: Firing) -> None:
        if firing.state == DECIDED:
            log.info(
                "%s is decided by %d devices%s.",
                *(firing.mark, len(firing.devices), firing.feature and f" in {firing.feature}"),
            )
            firing = self._store.change(firing, state=STARTING)
        launcher, now = self._launcher_of(firing), self._clock()
        if now < self._asked.get(firing.mark, -launcher.every) + launcher.every:
            return
        self._asked[firing.mark] = now
        try:
            found = launcher.look(firing)
            if found.state in ("absent", "stopped"):
                self._begin(firing, launcher, found)
            else:
                self._tell(firing, found)
        except UnavailableError as error:
            if firing.said != str(error):
                log.warning("%s waits: %s", firing.mark, error)
                self._store.change(firing, said=str(error))
        except EdgelineError as error:
            self._end(firing, FAILED, str(error))

    def _begin(self, firing: Firing, launcher: Launcher, found: FoundRun) -> None:
        now = self._clock()
        if firing.begun is not None and now < firing.begun + launcher.settle:
            return  # it may yet be found
        if firing.tries >= TRIES:
            self._end(firing, FAILED, f"it was begun {TRIES} times and has not ended")
            return
        if found.state == "stopped":
            log.warning("%s was interrupted: it goes on.", firing.mark)
        firing = self._store.change(firing, begun=now, tries=firing.tries + 1, said="")
        place = launcher.begin(firing)
        self._store.change(firing, state=RUNNING, place=place)
        log.info("%s runs: %s.", firing.mark, place)

    def _tell(self, firing: Firing, found: FoundRun) -> None:
        if found.state == "running":
            if firing.state != RUNNING:
                log.info("%s runs: %s.", firing.mark, found.place)
                self._store.change(firing, state=RUNNING, place=found.place)
            return
        self._end(firing, SUCCEEDED if found.state == "succeeded" else FAILED, found.said, found)

    def _end(self, firing: Firing, state: str, said: str, found: FoundRun | None = None) -> None:
        self._asked.pop(firing.mark, None)
        place = found.place if found else firing.place
        self._store.change(firing, state=state, said=said, ended=self._clock(), place=place)
        if state == FAILED:
            log.error("%s failed: %s", firing.mark, said)
        else:
            log.info("%s succeeded.", firing.mark)
        launcher = self._launcher_of(firing)
        if isinstance(launcher, LocalLauncher):
            launcher.prune(self._store.firings(), self._keep)
