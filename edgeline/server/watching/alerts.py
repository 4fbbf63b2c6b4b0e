"""Alerts: an event when other columns drift, or other metrics decay, than before, and when none
does any more. What goes on is told again each hour, so that an event that is lost is not lost for
good."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from edgeline.monitoring.cloud_events import event, source_of
from edgeline.monitoring.events import CONCEPT, ESTIMATED, MEASURED, decay_data, drift_event
from edgeline.server.watching.outbox import EventReceiver

log = logging.getLogger("edgeline.server")
AGAIN = 3600.0  # seconds after which what goes on is told again


class AlertMemory:
    """What was told last of each subject, and when; `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[object, tuple[object, float]] = {}

    def is_due(self, subject: object, now: object) -> bool:
        """Whether something else is to be told of it than before, or the same once more; what is
        empty is told once."""
        before, told = self._last.get(subject, (None, 0.0))
        time = self._clock()
        is_new = now != before if now else bool(before)
        if not is_new and not (now and time >= told + AGAIN):
            return False
        self._last[subject] = now, time
        return True


class Alerts:
    """Compares each judgement of a version with the last one; `delivery` may be None."""

    def __init__(
        self, delivery: EventReceiver | None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._delivery = delivery
        self._told = AlertMemory(clock)

    def compare(self, model: str, version: int, report: dict[str, Any]) -> None:
        """Take in a report (see `drift_watch.Watch.report`); log and send what is new in it."""
        now = frozenset(report["drifting"])
        if not self._told.is_due((model, version), now):
            return
        if now:
            log.warning("%s %d drifts in %s.", model, version, ", ".join(sorted(now)))
        else:
            log.info("%s %d drifts no more.", model, version)
        if self._delivery is not None:
            kind, data = drift_event(model, version, report)
            source = source_of(model, version)
            self._delivery.put(event(kind, source, data, self._delivery.device))


class DecayAlerts:
    """Compares each look at a version's decay with the last one; `delivery` may be None."""

    def __init__(
        self, delivery: EventReceiver | None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._delivery = delivery
        self._told = AlertMemory(clock)

    def compare(self, model: str, version: int, report: dict[str, Any]) -> None:
        """Take in a report (see `decay.Decay.report`); log and send what is new in it."""
        for kind, side in ((ESTIMATED, "estimated"), (MEASURED, "measured")):
            found = report[side]
            if self._told.is_due((model, version, kind), tuple(found["decayed"])):
                worse = ", ".join(found["decayed"])
                text = f"is {side}: " + (f"worse than usual in {worse}" if worse else "as usual")
                self._tell(bool(worse), kind, model, version, text, report)
        concept = report["concept"]
        if self._told.is_due((model, version, CONCEPT), bool(concept["drifting"])):
            bad = bool(concept["drifting"])
            text = "is right " + ("less often than" if bad else "again as") + " its scores say"
            self._tell(bad, CONCEPT, model, version, text, report)

    def _tell(
        self, bad: bool, kind: str, model: str, version: int, text: str, report: dict[str, Any]
    ) -> None:
        log.log(logging.WARNING if bad else logging.INFO, "%s %d %s.", model, version, text)
        if self._delivery is not None:
            data = decay_data(kind, model, version, report)
            source = source_of(model, version)
            self._delivery.put(event(kind, source, data, self._delivery.device))
