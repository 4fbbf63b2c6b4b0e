"""What a model sends in a day, beside what its inputs would have been."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from edgeline.formats.dtypes import Array
from edgeline.server.metrics import escaped

HOURS = 24
_HOUR = 3600.0
INPUTS = "inputs"  # what was not sent
SENT = ("answers", "alerts", "labels")


class DayOfBytes:
    """Bytes of the last 24 hours, by the hour: between 23 and 24 of them. Its owner locks."""

    def __init__(self) -> None:
        self._hours: dict[int, int] = {}

    def add(self, size: int, hour: int) -> None:
        if hour not in self._hours:
            self._hours = {at: n for at, n in self._hours.items() if at > hour - HOURS}
            self._hours[hour] = 0
        self._hours[hour] += size

    def total(self, hour: int) -> int:
        return sum(size for at, size in self._hours.items() if at > hour - HOURS)


class SentBytes:
    """Of all models. Safe for threads.

    A message counts with its topic and its payload, without what MQTT, TLS and TCP add. Inputs
    count as a client would have sent them in binary: an array's bytes, and of text its length.
    """

    def __init__(self) -> None:
        self._totals: Counter[tuple[str, str]] = Counter()
        self._days: dict[tuple[str, str], DayOfBytes] = {}
        self._began = monotonic()
        self._lock = threading.Lock()

    def add(self, model: str, what: str, size: int) -> None:
        """Count bytes of a model; `what` is of `SENT`, or `INPUTS`."""
        with self._lock:
            self._totals[model, what] += size
            self._days.setdefault((model, what), DayOfBytes()).add(size, self._hour())

    def models(self) -> list[dict[str, Any]]:
        """Of each model the bytes of the last day: sent, by what, and of its inputs."""
        with self._lock:
            hour = self._hour()
            days = {key: day.total(hour) for key, day in self._days.items()}
        found = []
        for model in sorted({model for model, _ in days}):
            parts = {what: days.get((model, what), 0) for what in SENT}
            inputs = days.get((model, INPUTS), 0)
            found.append({"model": model, "sent": sum(parts.values()), **parts, INPUTS: inputs})
        return found

    @property
    def hours(self) -> float:
        """Of how many hours `models` tells: 24, or since the start."""
        return min(float(HOURS), (monotonic() - self._began) / _HOUR)

    def lines(self) -> Iterator[str]:
        """The totals as metrics for Prometheus."""
        with self._lock:
            totals = sorted(self._totals.items())
        for (model, what), size in totals:
            if what != INPUTS:
                labels = f'model="{escaped(model)}",what="{what}"'
                yield f"edgeline_mqtt_sent_bytes_total{{{labels}}} {size}"
        for (model, what), size in totals:
            if what == INPUTS:
                yield f'edgeline_mqtt_input_bytes_total{{model="{escaped(model)}"}} {size}'

    def _hour(self) -> int:
        return int((monotonic() - self._began) // _HOUR)


def size_of(inputs: Mapping[str, Array]) -> int:
    """Bytes of a request's inputs, [rows, ...] each."""
    return sum(
        sum(map(len, array.flat)) if array.dtype.kind == "O" else array.nbytes
        for array in inputs.values()
    )
