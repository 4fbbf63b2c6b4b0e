"""Every run one step further: what is kept is changed first, and what is begun is looked for first.

    decided -> starting -> running -> succeeded | failed

A step that a kill cuts short is done again after the restart, and finds what it had begun: nothing
is begun that is there, and nothing is taken for begun that is not.

Only its own end ends a run: whoever cannot be asked, or refuses to answer, is asked again, less and
less often. What could not be begun for a day has failed. Pauses are measured on the monotonic
clock, which nobody sets.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from time import monotonic, time

from edgeline.errors import EdgelineError, first_line
from edgeline.triggers.here import LocalLauncher
from edgeline.triggers.launching import FoundRun, Launcher, RefusedRunError
from edgeline.triggers.rules import DAY
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
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0  # seconds after a refusal, as long as it has lasted
PATIENCE = DAY  # for a run that cannot be begun


class FiringRunner:
    """Takes runs further in a thread."""

    def __init__(
        self,
        store: TriggerStore,
        launcher_of: Callable[[Firing], Launcher],
        keep: int,
        clock: Callable[[], float] = time,
        tick: float = TICK,
        ticks: Callable[[], float] = monotonic,
    ) -> None:
        """`keep` is how many folders of ended runs here stay of each rule; `clock` is of the day,
        and `ticks` what pauses are measured by."""
        self.seen = ticks()  # when the thread last took a run further, or found nothing to do
        self._store, self._launcher_of, self._keep = store, launcher_of, keep
        self._clock, self._tick, self._ticks = clock, tick, ticks
        self._next: dict[str, float] = {}  # when each run is looked for again
        self._refused: dict[str, float] = {}  # since when each is refused
        self._asked: dict[str, float] = {}  # when each was last asked for, or found asked for
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
                self.seen = self._ticks()
                self._step(firing)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
                self.seen = self._ticks()
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
        launcher, now = self._launcher_of(firing), self._ticks()
        if now < self._next.get(firing.mark, now):
            return
        if firing.begun is not None:  # by whom, and how long ago on this clock, nobody knows now
            self._asked.setdefault(firing.mark, now)
        self._next[firing.mark] = now + launcher.every
        try:
            found = launcher.look(firing)
            if found.state in ("absent", "stopped"):
                self._begin(firing, launcher, found)
            else:
                self._tell(firing, found)
        except sqlite3.Error:
            raise
        except RefusedRunError as refused:
            self._end(firing, FAILED, str(refused))
        except Exception as error:  # of this run: the others go on
            self._wait(firing, error)

    def _wait(self, firing: Firing, error: Exception) -> None:
        """Note why a run is not taken further, and when that is tried again."""
        if isinstance(error, EdgelineError):
            said = str(error)
        else:
            said = f"{type(error).__name__}: {first_line(error)}"
        if firing.said != said:
            traced = None if isinstance(error, EdgelineError) else error
            log.warning("%s waits: %s", firing.mark, said, exc_info=traced)
            self._store.change(firing, said=said)
        now = self._ticks()
        lasted = now - self._refused.setdefault(firing.mark, now)
        self._next[firing.mark] = now + min(max(lasted, FIRST_PAUSE), LONGEST_PAUSE)
        if firing.begun is None:  # nothing was asked for, so that nothing can be there
            self._give_up(firing, said)

    def _give_up(self, firing: Firing, said: str) -> bool:
        now = self._ticks()
        late = now > self._refused.get(firing.mark, now) + PATIENCE
        if late:
            self._end(
                firing, FAILED, f"it could not be begun for {PATIENCE / 3600:g} hours: {said}"
            )
        return late

    def _begin(self, firing: Firing, launcher: Launcher, found: FoundRun) -> None:
        asked = self._asked.get(firing.mark)
        if asked is not None and self._ticks() < asked + launcher.settle:
            return  # it may yet be found
        if found.state == "absent" and self._give_up(firing, firing.said):
            return
        if firing.tries >= TRIES:
            self._end(firing, FAILED, f"it was begun {TRIES} times and has not ended")
            return
        if found.state == "stopped":
            log.warning("%s was interrupted: it goes on.", firing.mark)
        firing = self._store.change(firing, begun=self._clock(), tries=firing.tries + 1)
        try:
            place = launcher.begin(firing)
        except Exception:
            self._store.change(firing, tries=firing.tries - 1)
            raise
        finally:  # a request may reach a server after its sender has given up
            self._asked[firing.mark] = self._ticks()
        self._runs(firing, place)

    def _tell(self, firing: Firing, found: FoundRun) -> None:
        if found.state == "running":
            if firing.state != RUNNING or firing.said:
                self._runs(firing, found.place)
            return
        self._end(firing, SUCCEEDED if found.state == "succeeded" else FAILED, found.said, found)

    def _runs(self, firing: Firing, place: str) -> None:
        self._refused.pop(firing.mark, None)
        self._store.change(firing, state=RUNNING, place=place, said="")
        log.info("%s runs: %s.", firing.mark, place)

    def _end(self, firing: Firing, state: str, said: str, found: FoundRun | None = None) -> None:
        for kept in (self._next, self._refused, self._asked):
            kept.pop(firing.mark, None)
        place = found.place if found else firing.place
        self._store.change(firing, state=state, said=said, ended=self._clock(), place=place)
        if state == FAILED:
            log.error("%s failed: %s", firing.mark, said)
        else:
            log.info("%s succeeded.%s", firing.mark, said and f" {said}")
        launcher = self._launcher_of(firing)
        if isinstance(launcher, LocalLauncher):
            launcher.prune(self._store.firings(), self._keep)
