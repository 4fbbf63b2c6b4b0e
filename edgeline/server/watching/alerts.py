"""Alerts of drift: an event when other columns drift than before, and when none does any more."""

from __future__ import annotations

import logging
from typing import Any

from edgeline.server.watching.delivery import Delivery, event
from edgeline.server.watching.events import DRIFT, RESOLVED

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
