"""Live statistics of each version's inputs and outputs, beside its reference.

A worker hands over the arrays of a finished prediction (`Watch.observe`): a few microseconds, for
as many rows per second as the settings allow, and none beyond. A thread counts them a moment later
into slices of the window, so memory is bounded whatever the traffic. The window holds the last
`drift_window` seconds, or longer where these have fewer than `drift_rows` rows. The same rows go to
what tells a version's decay (see `decay`).
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from edgeline.errors import first_line
from edgeline.formats.dtypes import Array
from edgeline.runtimes.estimated import ScoreTally
from edgeline.server.metrics import escaped
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import tracing
from edgeline.server.watching.decay import Decay, Sampled, gone_before
from edgeline.server.watching.drift import Live, Thresholds, counts_of, histogram, judge

log = logging.getLogger("edgeline.server")
SLICES = 12
BURST = 10  # seconds' worth of rows that may be looked at after silence
_QUEUE = 4096  # predictions that wait to be counted
_ROW_BYTES = 4096  # a row that is larger counts as several
_EXAMPLES = 5  # of unseen values that are told
_KEPT = 100
_TICK = 0.2  # seconds
_LOADING = 600.0  # seconds for which a version may be loaded before it serves
_SAVE = 600.0  # seconds between two times that answers are written, where a state is kept

OnReport = Callable[[str, int, dict[str, Any]], None]  # model, version, report
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


class Watching:
    """The watches of all versions that serve, and the thread that counts for them.

    Labels come when a version may be gone: of each model the one that went last is kept for them.
    """

    def __init__(
        self,
        settings: ServerSettings,
        serving: Callable[[], Iterable[tuple[str, int, int]]],
        on_report: OnReport,
        on_decay: OnReport = lambda *_: None,
    ) -> None:
        self._settings, self._serving = settings, serving
        self._on_report, self._on_decay = on_report, on_decay
        self._watches: dict[tuple[str, int], Watch] = {}
        self._gone: dict[str, tuple[int, Watch]] = {}
        self.decay_told: list[dict[str, Any]] = []  # at the last look of the thread
        self.forgotten = 0  # answers that waited for labels when their version was forgotten
        self.failing: dict[tuple[str, int], str] = {}  # versions that could not be judged, and why
        self._restored: set[str] = set()  # models whose files of before were looked through
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)

    def observer(
        self, name: str, version: int, reference: Reference | None, decay: Decay | None = None
    ) -> Any:
        """What workers of a version call after each prediction; None where nothing is watched."""
        with self._lock:
            before = self._watches.pop((name, version), None)
            if before is None and self._gone.get(name, (0,))[0] == version:  # a rollback
                _, before = self._gone.pop(name)
            heir = self._heir(before, decay)
            if reference is None or not self._settings.drift_rate:
                return None
            watch = self._watches[name, version] = Watch(reference, self._settings, heir)
        if not self._thread.ident:
            self._thread.start()
        return watch.observe

    def _heir(self, before: Watch | None, decay: Decay | None) -> Decay | None:
        """What goes on with the answers that wait: those of the same bundle of before, if it was
        there, else of the state's folder."""
        if before is None or before.decay is None:
            if decay is not None:
                decay.restore()
            return decay
        before.drain()
        if decay is None or decay.of.digest != before.decay.of.digest:
            self.forgotten += before.decay.waiting
            return decay
        if before.decay.answers:
            return before.decay
        _saved(before.decay)  # it was restored to wait alone
        decay.restore()
        return decay

    def reports(self) -> list[dict[str, Any]]:
        """A report of each version that serves and has a reference."""
        self._forget()
        self._drain()
        found = []
        for (name, version), watch in sorted(self._watches.items()):
            if watch.served:
                found.append({"model": name, "version": version, **watch.report()})
        return found

    def decay_reports(self) -> list[dict[str, Any]]:
        """How good each version still is that serves, or served last and waits for labels."""
        self._forget()
        found, failing = [], {}
        for (name, version), watch in self._by_version():
            try:
                report = watch.decay_report()
            except Exception as error:  # the others are told nevertheless
                failing[name, version] = first_line(error)
                if (name, version) not in self.failing:
                    log.exception("The decay of %s %d cannot be told.", name, version)
                continue
            if report is not None:
                served = (name, version) in self._watches
                found.append({"model": name, "version": version, "served": served, **report})
        self.failing = failing
        return found

    def decays(self, model: str) -> list[Decay]:
        """What waits for labels of a model, with all that was sampled until now."""
        self._forget()
        self._drain()
        return [
            watch.decay
            for (name, _), watch in self._by_version()
            if name == model and watch.decay is not None
        ]

    def lines(self) -> Iterator[str]:
        """The statistics as metrics for Prometheus."""
        reports = self.reports()
        for name in ("rows", "drifting"):
            for report in reports:
                value = report["rows"] if name == "rows" else len(report["drifting"])
                yield f"edgeline_drift_{name}{{{_labels(report)}}} {value}"
        for name in ("psi", "ks", "unseen", "missing"):
            for report in reports:
                for side in SIDES:
                    for column, found in report[side].items():
                        value = found["missing"]["live"] if name == "missing" else found.get(name)
                        if value is not None:
                            labels = f'{_labels(report)},side="{side}",column="{escaped(column)}"'
                            yield f"edgeline_drift_{name}{{{labels}}} {value:.6g}"

    def close(self) -> None:
        """End the thread, and keep what waits for labels."""
        self._stop.set()
        self._save()

    def _by_version(self) -> list[tuple[tuple[str, int], Watch]]:
        gone = {(name, version): watch for name, (version, watch) in list(self._gone.items())}
        here = {key: watch for key, watch in list(self._watches.items()) if watch.known}
        return sorted({**gone, **here}.items(), key=lambda item: item[0])

    def _run(self) -> None:
        judged = saved = monotonic()
        while not self._stop.wait(_TICK):
            now = monotonic()
            try:
                self._drain()
                if now - judged >= self._settings.drift_judge:
                    judged = now
                    for report in self.reports():
                        self._on_report(report["model"], report["version"], report)
                    self.decay_told = self.decay_reports()
                    for report in self.decay_told:
                        self._on_decay(report["model"], report["version"], report)
                if now - saved >= _SAVE:
                    saved = now
                    self._save()
            except Exception:
                log.exception("Watching failed for a moment.")

    def _save(self) -> None:
        self._drain()
        for _, watch in self._by_version():
            if watch.decay is not None:
                _saved(watch.decay)

    def _drain(self) -> None:
        gone = [((name, version), watch) for name, (version, watch) in list(self._gone.items())]
        for (name, version), watch in [*list(self._watches.items()), *gone]:
            try:
                watch.drain()
            except Exception:  # the others are counted nevertheless
                log.exception("Watching %s %d failed for a moment.", name, version)

    def _forget(self) -> None:
        """Move what does not serve any more to the gone; restore those of before the start."""
        try:
            serving = {(name, version) for name, version, _ in self._serving()}
        except RuntimeError:  # a version came or went this very moment
            return
        with self._lock:
            for key, watch in list(self._watches.items()):
                watch.served = watch.served or key in serving
                loading = not watch.served and monotonic() - watch.began < _LOADING
                if loading or key in serving:
                    continue
                del self._watches[key]
                if watch.decay is None or not watch.known:
                    continue
                before = self._gone.get(key[0])
                self._gone[key[0]] = key[1], watch
                if before is not None and before[1].decay is not None:
                    self.forgotten += before[1].decay.waiting
            for name in {name for name, _ in self._watches} - self._restored:
                self._restored.add(name)
                served = {version for model, version in serving if model == name}
                decay = gone_before(self._settings, name, served)
                if decay is not None and name not in self._gone:
                    self._gone[name] = (
                        decay.of.version,
                        Watch(Reference({}, {}), self._settings, decay),
                    )


def _saved(decay: Decay) -> None:
    try:
        decay.save()
    except OSError as error:
        log.warning("Answers that wait for labels cannot be kept (%s).", error)


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


def _labels(report: Mapping[str, object]) -> str:
    return f'model="{report["model"]}",version="{report["version"]}"'
