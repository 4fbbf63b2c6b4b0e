"""Values outside their features' ranges: counted, and told to the webhook at once.

The event `io.edgeline.range.detected` goes out with the first such row of a feature, and again with
the first after `drift_window` seconds. What finds them is `edgeline.monitoring.range_check`.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from time import monotonic

from edgeline.artifacts.ranges import FeatureRange
from edgeline.artifacts.transformed import RAW
from edgeline.monitoring.cloud_events import event, source_of
from edgeline.monitoring.events import OUT_OF_RANGE, range_data
from edgeline.monitoring.range_check import RangeCheck
from edgeline.server.metrics import VERSIONS, escaped
from edgeline.server.models.model import Description
from edgeline.server.settings import IGNORE, REFUSE, ServerSettings
from edgeline.server.watching.outbox import EventReceiver

log = logging.getLogger("edgeline.server")
ModelVersion = tuple[str, int]


class RangeWatch:
    """The counts of all versions. Safe for threads; `delivery` may be None."""

    def __init__(self, settings: ServerSettings, delivery: EventReceiver | None) -> None:
        self._mode, self._window = settings.out_of_range, settings.drift_window
        self._delivery = delivery
        self._counts: dict[ModelVersion, Counter[str]] = {}
        self._told: dict[ModelVersion, dict[str, float]] = {}  # when, by feature
        self._unchecked: set[str] = set()
        self._lock = threading.Lock()

    def check(self, description: Description) -> RangeCheck | None:
        """What a version's requests are compared with; None where there is nothing to compare."""
        if self._mode == IGNORE or description.bundle is None:
            return None
        name, version = description.name, description.version
        if description.ranges is None:
            if name not in self._unchecked:
                self._unchecked.add(name)
                log.log(
                    logging.WARNING if self._mode == REFUSE else logging.INFO,
                    "%s %d does not say what its features may be: values out of range are not "
                    "noticed. A model that is trained and published again says it.",
                    name,
                    version,
                )
            return None
        with self._lock:
            self._counts.setdefault((name, version), Counter())
            kept = sorted(key for key in self._counts if key[0] == name)
            for key in kept[: max(0, len(kept) - VERSIONS)]:
                del self._counts[key]
                self._told.pop(key, None)

        def found(feature: str, rows: int, value: object, allowed: FeatureRange) -> None:
            self._found((name, version), feature, rows, value, allowed)

        raw = [each for each in description.asked.inputs if _takes_raw(description, each.name)]
        return RangeCheck(description.ranges, raw, self._mode == REFUSE, found)

    def counts(self, name: str, version: int) -> dict[str, int]:
        """How many rows were outside, by feature."""
        with self._lock:
            return dict(self._counts.get((name, version), {}))

    def lines(self) -> Iterator[str]:
        """The counts as metrics for Prometheus."""
        with self._lock:
            found = [(key, sorted(counts.items())) for key, counts in sorted(self._counts.items())]
        for (name, version), counts in found:
            for feature, rows in counts:
                labels = f'model="{name}",version="{version}",column="{escaped(feature)}"'
                yield f"edgeline_out_of_range_rows_total{{{labels}}} {rows}"

    def _found(
        self, key: ModelVersion, feature: str, rows: int, value: object, allowed: FeatureRange
    ) -> None:
        now = monotonic()
        with self._lock:
            self._counts.setdefault(key, Counter())[feature] += rows
            told = self._told.setdefault(key, {})
            if feature in told and now - told[feature] < self._window:
                return
            told[feature] = now
        name, version = key
        log.warning("%s %d: %r is out of range, not %s.", name, version, feature, allowed)
        if self._delivery is not None:
            data = range_data(name, version, feature, value, rows, allowed, self._mode == REFUSE)
            source = source_of(name, version)
            self._delivery.put(event(OUT_OF_RANGE, source, data, self._delivery.device))


def _takes_raw(description: Description, name: str) -> bool:
    return description.takes_of(name) == RAW
