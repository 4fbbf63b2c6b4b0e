"""Alerts: an event when other columns drift, or other metrics decay, than before, and when none
does any more."""

from __future__ import annotations

import logging
from typing import Any

from edgeline.server.watching.delivery import Delivery, event
from edgeline.server.watching.events import CONCEPT, DRIFT, ESTIMATED, MEASURED, RESOLVED

log = logging.getLogger("edgeline.server")


class Alerts:
    """Compares each judgement of a version with the last one; `delivery` may be None."""

    def __init__(self, delivery: Delivery | None) -> None:
        self._delivery = delivery
        self._drifting: dict[tuple[str, int], frozenset[str]] = {}

    def compare(self, model: str, version: int, report: dict[str, Any]) -> None:
        """Take in a report (see `drift_watch.Watch.report`); log and send what is new in it."""
        now = frozenset(report["drifting"])
        before = self._drifting.get((model, version), frozenset())
        self._drifting[model, version] = now
        if now <= before and (now or not before):
            return
        columns = {
            name: found
            for side in ("inputs", "outputs")
            for name, found in report[side].items()
            if name in now
        }
        if now:
            log.warning("%s %d drifts in %s.", model, version, ", ".join(sorted(now)))
        else:
            log.info("%s %d drifts no more.", model, version)
        if self._delivery is not None:
            data = {
                "model": model,
                "version": version,
                "rows": report["rows"],
                "since": report["since"],
                "drifting": report["drifting"],
                "columns": columns,
            }
            source = f"/models/{model}/versions/{version}"
            self._delivery.put(event(DRIFT if now else RESOLVED, source, data))


class DecayAlerts:
    """Compares each look at a version's decay with the last one; `delivery` may be None."""

    def __init__(self, delivery: Delivery | None) -> None:
        self._delivery = delivery
        self._before: dict[tuple[str, int, str], object] = {}

    def compare(self, model: str, version: int, report: dict[str, Any]) -> None:
        """Take in a report (see `decay.Decay.report`); log and send what is new in it."""
        for kind, side in ((ESTIMATED, "estimated"), (MEASURED, "measured")):
            found = report[side]
            if self._is_new(model, version, kind, tuple(found["decayed"])):
                more = ("slices",) if kind == MEASURED else ()
                data = {
                    key: found.get(key) for key in ("decayed", "rows", "since", "metrics", *more)
                }
                data["usual"] = report["usual"]
                worse = ", ".join(found["decayed"])
                text = f"is {side}: " + (f"worse than usual in {worse}" if worse else "as usual")
                self._tell(bool(worse), kind, model, version, text, data)
        concept = report["concept"]
        if self._is_new(model, version, CONCEPT, concept["drifting"] or ()):
            bad = bool(concept["drifting"])
            text = "is right " + ("less often than" if bad else "again as") + " its scores say"
            self._tell(bad, CONCEPT, model, version, text, concept)

    def _is_new(self, model: str, version: int, kind: str, now: object) -> bool:
        before = self._before.get((model, version, kind), ())
        self._before[model, version, kind] = now
        return now != before

    def _tell(
        self, bad: bool, kind: str, model: str, version: int, text: str, data: dict[str, Any]
    ) -> None:
        log.log(logging.WARNING if bad else logging.INFO, "%s %d %s.", model, version, text)
        if self._delivery is not None:
            told = {"model": model, "version": version, **data}
            self._delivery.put(event(kind, f"/models/{model}/versions/{version}", told))
