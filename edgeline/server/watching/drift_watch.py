"""Live statistics of each version's inputs and outputs, beside its reference.

A worker hands over the arrays of a finished prediction (`Watch.observe`): a few microseconds, for
as many rows per second as the settings allow, and none beyond. A thread counts them a moment later
into slices of the window, so memory is bounded whatever the traffic. The window holds the last
`drift_window` seconds, or longer where these have fewer than `drift_rows` rows. The same rows go to
what tells a version's decay (see `decay`).
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

import numpy as np

from edgeline.artifacts.reference import (
    Arrays,
    Column,
    Numbers,
    Reference,
    bins,
    columns,
    count,
)
from edgeline.artifacts.reference import present as split_missing
from edgeline.formats.dtypes import Array
from edgeline.runtimes.estimated import ScoreTally
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import tracing
from edgeline.server.watching.decay import Decay, Sampled
from edgeline.server.watching.drift import Live, Thresholds, counts_of, histogram, judge

SLICES = 12
BURST = 10  # seconds' worth of rows that may be looked at after silence
_QUEUE = 4096  # predictions that wait to be counted
_ROW_BYTES = 4096  # a row that is larger counts as several
_EXAMPLES = 5  # of unseen values that are told
_KEPT = 100

SIDES = ("inputs", "outputs")


@dataclass
class Tally:
    """What was counted of one column."""

    counts: Array
    missing: int = 0
    unseen: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Tally) -> Tally:
        unseen = Counter(dict((self.unseen + other.unseen).most_common(_KEPT)))
        return Tally(self.counts + other.counts, self.missing + other.missing, unseen)


@dataclass
class _Slice:
    began: float
    rows: int
    tallies: dict[tuple[str, str], Tally]
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
        self._columns: dict[tuple[str, str], Column] = {
            (side, name): column
            for side in SIDES
            for name, column in getattr(reference, side).items()
        }
        self._places = {
            key: {value: place for place, value in enumerate(column.values)}
            for key, column in self._columns.items()
            if not isinstance(column, Numbers)
        }
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
                    self._count(side, _joined(batch, side == "outputs"), now)
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
                for key in self._columns
            }
        sides: dict[str, dict[str, Any]] = {side: {} for side in SIDES}
        for (side, name), column in self._columns.items():
            tally = tallies[side, name]
            live = Live(tally.counts, tally.missing)
            found = judge(column, live, self._limits)
            found["histogram"] = histogram(column, live)
            if tally.unseen:
                found["unseen_values"] = [v for v, _ in tally.unseen.most_common(_EXAMPLES)]
            sides[side][name] = found
        drifting = [
            name for side in SIDES for name, found in sides[side].items() if found["drifting"]
        ]
        return {
            "rows": rows,
            "rows_needed": self._limits.rows,
            "since": round(since, 3),
            "drifting": drifting,
            **sides,
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

    def _count(self, side: str, found: Mapping[str, Array], into: _Slice) -> None:
        for name, values in found.items():
            column, tally = self._columns.get((side, name)), into.tallies.get((side, name))
            if column is None or tally is None:
                continue
            there, missing = split_missing(values)
            tally.missing += missing
            if isinstance(column, Numbers):
                tally.counts += bins(there, column.cuts)
                continue
            places = self._places[side, name]
            for value, times in count(there).items():
                place = places.get(value, -1)
                tally.counts[place] += times
                if place < 0 and (value in tally.unseen or len(tally.unseen) < _KEPT):
                    tally.unseen[value] += times

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
        return _Slice(
            monotonic(),
            0,
            {
                key: Tally(np.zeros(len(counts_of(column)), np.int64))
                for key, column in self._columns.items()
            },
        )


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


def _joined(batch: Iterable[Arrays], outputs: bool) -> dict[str, Array]:
    """The columns of many predictions, each joined."""
    parts: dict[str, list[Array]] = {}
    for arrays in batch:
        for name, array in arrays.items():
            parts.setdefault(name, []).append(array)
    found: dict[str, Array] = {}
    for name, arrays_of in parts.items():
        same = len({array.shape[1:] for array in arrays_of}) == 1
        pieces = [np.concatenate(arrays_of)] if same else arrays_of
        for piece in pieces:
            for column, values in columns({name: piece}, outputs).items():
                before = found.get(column)
                found[column] = values if before is None else np.concatenate([before, values])
    return found


def _bytes(array: Array) -> int:
    return sum(map(len, array.flat)) if array.dtype.kind == "O" else array.nbytes
