"""Live statistics of each version's inputs and outputs, beside its reference.

A worker hands over the arrays of a finished prediction (`Watch.observe`): a few microseconds, for
as many rows per second as the settings allow, and none beyond. A thread counts them a moment later
into slices of the window, so memory is bounded whatever the traffic. The window holds the last
`drift_window` seconds, or longer where these have fewer than `drift_rows` rows. The same rows go to
what tells a version's decay (see `decay`).
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from time import monotonic, time
from typing import Any

from edgeline.artifacts.reference import Arrays, Reference, columns
from edgeline.formats.dtypes import Array
from edgeline.monitoring.column_counts import SIDES, ColumnCounter, Tallies, joined
from edgeline.monitoring.decay import Decay, Sampled
from edgeline.monitoring.drift import Thresholds
from edgeline.runtimes.estimated import ScoreTally
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import tracing

SLICES = 12
BURST = 10  # seconds' worth of rows that may be looked at after silence
_QUEUE = 4096  # predictions that wait to be counted
_ROW_BYTES = 4096  # a row that is larger counts as several


@dataclass
class _Slice:
    began: float
    rows: int
    tallies: Tallies
    scores: ScoreTally | None = None


class Watch:
    """One version of a model. `observe` is for its workers, the rest for one thread."""

    def __init__(
        self, reference: Reference, settings: ServerSettings, decay: Decay | None = None
    ) -> None:
        self.reference, self.decay = reference, decay
        self.seen = 0  # rows since the version serves
        self.began, self.served = monotonic(), False  # not yet
        self._rate = float(settings.drift_rate)
        self._window, self._rows = settings.drift_window, settings.drift_rows
        self._limits = thresholds(settings)
        self._room, self._last = BURST * self._rate, monotonic()
        self._queue: deque[Sampled] = deque(maxlen=_QUEUE)
        self._counter = ColumnCounter(reference)
        self._slices = [self._slice()]
        self._lock = threading.Lock()

    @property
    def known(self) -> bool:
        """Whether it has served, or goes on with the answers of one that has."""
        return self.served or (self.decay is not None and self.decay.waiting > 0)

    def observe(self, inputs: Arrays, outputs: Arrays) -> None:
        """Take a finished prediction [rows, ...] in, or a part of it, or nothing of it."""
        now = monotonic()
        room = min(BURST * self._rate, self._room + (now - self._last) * self._rate)
        self._last = now
        if room < 1:
            self._room = room
            return
        rows = len(next(iter(inputs.values())))
        price = 1 + sum(map(_bytes, inputs.values())) // (rows * _ROW_BYTES)
        step = -(-rows * price // max(price, int(room)))
        if step > 1:
            inputs = {name: array[::step] for name, array in inputs.items()}
            outputs = {name: array[::step] for name, array in outputs.items()}
        if price > 1:  # the columns are small, and do not hold on to the request
            inputs = columns(inputs, False)
        self._room = room - price * -(-rows // step)
        identity = tracing.named() if self.decay is not None else ""
        self._queue.append(Sampled(inputs, outputs, identity, step))

    def drain(self) -> None:
        """Count what was observed."""
        with self._lock:
            waiting: list[Sampled] = []
            while self._queue:
                waiting.append(self._queue.popleft())
            self._turn()
            if waiting:
                now = self._slices[-1]
                found = sum(len(next(iter(each.inputs.values()))) for each in waiting)
                now.rows += found
                self.seen += found
                self.served = True
                for side in SIDES:
                    batch = [getattr(each, side) for each in waiting]
                    self._counter.add(side, joined(batch, side == "outputs"), now.tallies)
                if self.decay is not None:
                    now.scores = _together(now.scores, self.decay.take(waiting))

    def report(self) -> dict[str, object]:
        """Every column's statistics over the window, and the names of those that drift."""
        self.drain()
        with self._lock:
            rows = sum(part.rows for part in self._slices)
            since = time() - (monotonic() - self._slices[0].began)
            tallies = {
                key: sum(
                    (part.tallies[key] for part in self._slices[1:]), self._slices[0].tallies[key]
                )
                for key in self._slices[0].tallies
            }
        return {
            "rows": rows,
            "rows_needed": self._limits.rows,
            "since": round(since, 3),
            **self._counter.judged(tallies, self._limits),
        }

    def decay_report(self) -> dict[str, Any] | None:
        """How good the version still is (see `Decay.report`); None where nothing tells it."""
        if self.decay is None:
            return None
        self.drain()
        with self._lock:
            scores = self.decay.none()
            for part in self._slices:
                scores = _together(scores, part.scores)
            since = time() - (monotonic() - self._slices[0].began)
        return self.decay.report(scores, since)

    def _turn(self) -> None:
        """Begin a new slice where the last is full; let the oldest go where enough is left."""
        now = monotonic()
        if now - self._slices[-1].began >= self._window / SLICES:
            if self._slices[-1].rows:
                self._slices.append(self._slice())
            else:
                self._slices[-1].began = now
        while len(self._slices) > 1:
            old = now - self._slices[1].began > self._window
            left = sum(part.rows for part in self._slices[1:])
            if not old or left < self._rows:
                break
            del self._slices[0]
        if len(self._slices) > 2 * SLICES:  # little traffic: the two smallest become one
            parts = self._slices
            place = min(range(len(parts) - 2), key=lambda at: parts[at].rows + parts[at + 1].rows)
            first, second = parts[place], parts.pop(place + 1)
            for key in first.tallies:
                first.tallies[key] += second.tallies[key]
            first.rows += second.rows
            first.scores = _together(first.scores, second.scores)

    def _slice(self) -> _Slice:
        return _Slice(monotonic(), 0, self._counter.none())


def thresholds(settings: ServerSettings) -> Thresholds:
    """The thresholds that the settings name."""
    return Thresholds(
        settings.drift_psi,
        settings.drift_ks,
        settings.drift_unseen,
        settings.drift_missing,
        settings.drift_rows,
    )


def _together(one: ScoreTally | None, other: ScoreTally | None) -> ScoreTally | None:
    return one + other if one is not None and other is not None else one or other


def _bytes(array: Array) -> int:
    return sum(map(len, array.flat)) if array.dtype.kind == "O" else array.nbytes
