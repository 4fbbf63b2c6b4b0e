"""How good a version still is: estimated from its own scores, measured where labels come late.

`Watch` hands over what it has sampled, in its thread. Of each prediction the score is counted in
the window (see `edgeline.runtimes.estimated`), and where the client named the request, the answer
waits for its label (see `kept_answers`). Decay is told in three ways:

| what | from | decayed where |
|---|---|---|
| estimated | scores of sampled rows | its interval is below the held-out value by `decay_drop` |
| measured | labelled rows | the same; an error of a regression: above its value by that share |
| concept | labelled rows, one by one | decisions are right less often than their scores say |

A covariate shift moves the estimate, and the measured value with it. Where labels come about in
another way the estimate stays, and the third alone tells it (see `edgeline.runtimes.concept`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.calibration import BINARY, MULTICLASS
from edgeline.artifacts.decision_threshold import says_yes
from edgeline.artifacts.models import PREDICTION
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.monitoring.kept_answers import (
    MOST_MEASURED,
    NOT_KNOWN,
    KeptAnswers,
    key_of,
    keys_of,
    stored,
)
from edgeline.monitoring.watched_version import WatchedVersion, loads
from edgeline.runtimes.concept import ConceptTest, MapMargin, expected
from edgeline.runtimes.estimated import Interval, ScoreTally, estimate, none_of, tally
from edgeline.runtimes.interpreter import dequantise
from edgeline.runtimes.measured import ERRORS, measure, right

log = logging.getLogger("edgeline.server")
MOST_SLICES = 20  # of a column that are told, the largest first
MOST_FILES = 4  # versions of a model whose answers are kept on the disk
LEAST_SLICE = 30  # labelled rows of a slice that is told
TASKS = (BINARY, MULTICLASS, "regression")
_NO_MAP = (
    "Its bundle has no calibration of its scores: verify and publish the model again, with at "
    "least 100 labelled rows in the evaluation split."
)
_NO_SCORE = "A regression has no score that says how sure it is: only labels tell its error."


@dataclass(frozen=True)
class DecayLimits:
    """What counts as decay, and how long answers wait for it to be measured.

    Attributes:
        drop: by how much a metric is worse than on held-out rows; of an error that share of it.
        margin: by how much less often decisions may be right than their scores say, at least.
        window: seconds within which labels came whose rows are measured.
        rows: below which nothing is judged.
        memory: bytes for the answers that wait, and for those that have their label.
        wait: seconds for which one waits.
        most_measured: labelled rows that metrics are of.
    """

    drop: float = 0.05
    margin: float = 0.02
    window: float = 3600.0
    rows: int = 500
    memory: int = 1 << 20
    wait: float = 7 * 24 * 3600.0
    most_measured: int = MOST_MEASURED


class Sampled(NamedTuple):
    """A prediction that was sampled: what went in and out of each `step`-th row of a request, and
    the id that the client gave it, or ""."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    identity: str = ""
    step: int = 1


class JoinedLabels(NamedTuple):
    """What came of labels, bool [labels] each: whose answer got its first one, is known here, and
    may have had to go for room."""

    fresh: Array
    known: Array
    thinned: Array


class Decay:
    """Of one version. Safe for threads; `take` is for the thread that watches.

    Attributes:
        of: the version.
        unnamed: rows that wait for no label, as their request had no id.
    """

    def __init__(
        self,
        of: WatchedVersion,
        limits: DecayLimits,
        outputs: Sequence[Tensor] = (),
        threshold: float | None = None,
        file: Path | None = None,
    ) -> None:
        """
        Args:
            outputs: of the version; none where it does not serve, and answers no more.
            threshold: above which its score means yes, where that is not 0.5.
            file: where answers are kept over restarts; None where they are not.
        """
        self.of, self.task = of, of.reader.task
        self.unnamed = 0
        self._outputs = tuple(each for each in outputs if each.name == PREDICTION)
        self._threshold = threshold
        self._calibration = of.calibration
        self._map_margin = (
            MapMargin(of.calibration, limits.margin) if of.calibration is not None else None
        )
        self._drop = limits.drop
        self._window, self._least = limits.window, limits.rows
        self._kept = KeptAnswers(limits.memory, limits.wait, len(of.slices), limits.most_measured)
        self._told_share = 1.0
        self._test, self._missed = ConceptTest(), np.zeros(0)
        self._lock = threading.Lock()
        self._changed = False
        self._file = file

    @property
    def waiting(self) -> int:
        """Rows that wait for their labels."""
        with self._lock:
            return self._kept.waiting

    @property
    def repeated(self) -> int:
        """Of the rows that are kept, those that came again under the same id and place."""
        with self._lock:
            return self._kept.repeated

    @property
    def answers(self) -> bool:
        """Whether it takes more answers in."""
        return bool(self._outputs)

    @property
    def latest(self) -> int:
        """When the last of its answers was given, in seconds since 1970; 0 without any."""
        with self._lock:
            return self._kept.latest

    def take(self, sampled: Sequence[Sampled]) -> ScoreTally | None:
        """Keep the named ones for their labels; the tally of all scores, None without a map."""
        if not sampled:
            return None
        predictions = [each.outputs[PREDICTION] for each in sampled]
        keys = np.zeros(sum(map(len, predictions)), np.uint64)
        first = 0
        for each in sampled:
            rows = len(each.outputs[PREDICTION])
            if each.identity:
                places = np.arange(rows) * each.step
                keys[first : first + rows] = keys_of(key_of(each.identity), places)
            first += rows
        return self.add(predictions, keys, [each.inputs for each in sampled])

    def add(
        self,
        predictions: Sequence[Array],
        keys: Array,
        inputs: Sequence[Mapping[str, Array]],
    ) -> ScoreTally | None:
        """As `take`, by the keys of rows.

        Args:
            predictions: as the model stores them, [rows, ...] each, in the order of the keys.
            keys: uint64 [rows] (see `kept_answers.keys_of`); 0 of a row that waits for no label.
            inputs: what went in, by name, of the same rows.
        """
        scores, decided = self._scored(predictions)
        named = np.flatnonzero(keys)
        with self._lock:
            self.unnamed += len(keys) - len(named)
            if len(named):
                codes = self._codes(inputs, len(keys))
                self._kept.put(keys[named], scores[named], decided[named], codes[named])
                self._changed = True
                self._tell_share()
        if self._calibration is None:
            return None
        return tally(self._calibration, scores, decided)

    def join(self, keys: Array, truth: Array) -> JoinedLabels:
        """Give answers their labels: keys uint64 [labels] (see `kept_answers.keys_of`), and what is
        true of each, float [labels]."""
        with self._lock:
            rows, fresh, known = self._kept.join(keys, truth)
            if len(rows) and self._map_margin is not None:
                wanted, hits = self._outcomes(rows)
                least = wanted - self._map_margin.add(rows["score"])
                self._test.add(least, hits)
                self._missed = np.concatenate([self._missed, least - hits])[-max(1, self._least) :]
            self._changed = self._changed or bool(len(rows))
            thinned = self._kept.thinned(keys) & ~known
        return JoinedLabels(fresh, known, thinned)

    def report(self, window: ScoreTally | None, since: float) -> dict[str, Any]:
        """What `GET /decay` tells of a version; `window` is what was counted since `since`."""
        with self._lock:
            self._kept.expire()
            rows = self._kept.labelled(self._window, self._least).copy()
            measured = self._measured(rows)
            concept = self._concept(*self._outcomes(rows))
            kept = {
                "waiting": self._kept.waiting,
                "most": self._kept.capacity,
                "bytes": self._kept.bytes,
                "lost": {name: self._kept.lost[name] for name in ("thinned", "expired")},
                "kept_share": round(self._kept.share, 9),
                "least_share": round(self._kept.least_share, 9),
                "unnamed": self.unnamed,
            }
        return {
            "task": self.task,
            "rows_needed": self._least,
            "usual": dict(self.of.usual),
            "estimated": self._estimated(window, since),
            "measured": measured,
            "concept": concept,
            "answers": kept,
        }

    def save(self) -> None:
        """Write what waits into the state's folder, if there is one and something is new.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            if self._file is not None and self._changed:
                self._kept.save(self._file, self.of.dumps())
                self._changed = False
                files = sorted(
                    self._file.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime
                )
                for old in files[:-MOST_FILES]:
                    old.unlink(missing_ok=True)

    def restore(self) -> None:
        """Take over what waited before the server was started, if it is of the same bundle."""
        found = stored(self._file) if self._file is not None else None
        if found is None:
            return
        try:
            before = loads(found.of, self.of.name, self.of.version)
        except EdgelineError as error:
            log.warning("%s cannot be read (%s): no answer of before waits.", self._file, error)
            return
        kept = found.rows.dtype.fields.get("slices")
        if (kept[0].shape if kept else ()) != ((len(before.slices),) if before.slices else ()):
            log.warning("%s has other slices than it says: no answer of before waits.", self._file)
            return
        if before.digest != self.of.digest:
            log.warning("%s is of another bundle: no answer of before waits.", self._file)
            return
        known = {(each.column, each.names): at for at, each in enumerate(before.slices)}
        columns = [known.get((each.column, each.names), -1) for each in self.of.slices]
        with self._lock:
            self._kept.take_over(found, columns)
            self._tell_share()

    def none(self) -> ScoreTally | None:
        """The tally of no row; None without a map."""
        return none_of(self._calibration) if self._calibration is not None else None

    def _scored(self, predictions: Sequence[Array]) -> tuple[Array, Array]:
        """The score and the decision of each row: float32 and int32 [rows].

        Args:
            predictions: as the model stores them, [rows, ...] each.
        """
        stored = np.concatenate([each.reshape(len(each), -1) for each in predictions])
        real = dequantise({PREDICTION: stored}, self._outputs)[PREDICTION]
        if self.task == MULTICLASS:
            return real.max(axis=1).astype(np.float32), real.argmax(axis=1).astype(np.int32)
        scores = real[:, -1].astype(np.float32)
        decided = says_yes(scores, self._threshold) if self.task == BINARY else np.zeros(len(real))
        return scores, decided.astype(np.int32)

    def _outcomes(self, rows: Any) -> tuple[Array, Array]:
        """With what probability each labelled row's decision is right, and whether it is."""
        if self._calibration is None:
            return np.zeros(0), np.zeros(0, bool)
        hits = right(self.task, rows["decided"], rows["truth"])
        return expected(self._calibration, rows["score"], rows["decided"]), hits

    def _tell_share(self) -> None:
        if self._kept.least_share < self._told_share:
            self._told_share = self._kept.least_share
            log.warning(
                "Of the answers of %s %d, one in %d waits for its label: more of them do not fit "
                "into the memory for labels for as long as they wait.",
                self.of.name, self.of.version, round(1 / self._told_share),
            )  # fmt: skip

    def _estimated(self, window: ScoreTally | None, since: float) -> dict[str, Any]:
        if self._calibration is None or window is None:
            why = _NO_SCORE if self.task not in (BINARY, MULTICLASS) else _NO_MAP
            return {"rows": 0, "metrics": {}, "decayed": [], "not_estimated": why}
        found, rows = estimate(self._calibration, window), int(window.rows.sum())
        confusion = dict(zip(("tp", "fp", "fn", "tn"), window.confusion.round(2), strict=True))
        return {
            "rows": rows,
            "since": round(since, 3),
            "metrics": {name: value.to_json() for name, value in found.items()},
            **({"expected_confusion": confusion} if self.task == BINARY else {}),
            "decayed": self._decayed(found) if rows >= self._least else [],
        }

    def _measured(self, rows: Any) -> dict[str, Any]:
        found = measure(self.task, rows["score"], rows["decided"], rows["truth"])
        told = {
            "rows": len(rows),
            "since": int(rows["joined"].min()) if len(rows) else None,
            "metrics": {name: value.to_json() for name, value in found.items()},
            "decayed": self._decayed(found) if len(rows) >= self._least else [],
        }
        slices, left_out = [], 0
        for place, each in enumerate(self.of.slices):
            codes, counts = np.unique(rows["slices"][:, place], return_counts=True)
            ranked = sorted(zip(counts.tolist(), codes.tolist(), strict=True), reverse=True)
            large = [pair for pair in ranked[:MOST_SLICES] if pair[0] >= LEAST_SLICE]
            left_out += len(ranked) - len(large)
            for count, code in large:
                own = rows[rows["slices"][:, place] == code]
                metrics = measure(self.task, own["score"], own["decided"], own["truth"])
                slices.append(
                    {
                        "column": each.column,
                        "value": each.name(code),
                        "rows": count,
                        "metrics": {name: value.to_json() for name, value in metrics.items()},
                    }
                )
        return {**told, "slices": slices, "slices_left_out": left_out}

    def _concept(self, wanted: Array, hits: Array) -> dict[str, Any]:
        """What the test of labelled rows says; an alarm is lifted once the last `drift_rows` of
        them came after it and are right as often as expected."""
        if self._map_margin is None:
            return {"drifting": False, "not_told": "Without an estimate there is nothing to miss."}
        test = self._test
        if test.alarm and test.rows - test.alarm >= self._least and self._missed.mean() <= 0:
            test.lift()
        return {
            "drifting": bool(test.alarm),
            "expected_accuracy": round(float(wanted.mean()), 6) if len(wanted) else None,
            "measured_accuracy": round(float(hits.mean()), 6) if len(hits) else None,
            "margin": round(self._map_margin.now, 6),
            **test.to_json(),
        }

    def _decayed(self, found: Mapping[str, Interval]) -> list[str]:
        """The metrics whose interval is worse than usual by more than the drop."""
        worse = []
        for name, value in found.items():
            usual = self.of.usual.get(name)
            if usual is None:
                continue
            if name in ERRORS:
                bad = value.low > usual * (1 + self._drop)
            else:
                bad = value.high < usual - self._drop
            if bad:
                worse.append(name)
        return worse

    def _codes(self, inputs: Sequence[Mapping[str, Array]], rows: int) -> Array:
        """The codes of the slices of each row: uint16 [rows, slices]."""
        found = np.full((rows, len(self.of.slices)), NOT_KNOWN, np.uint16)
        for place, each in enumerate(self.of.slices):
            if all(each.column in one for one in inputs):
                columns = [one[each.column] for one in inputs]
                firsts = [column.reshape(len(column), -1)[:, 0] for column in columns]
                found[:, place] = each.codes(np.concatenate(firsts))
        return found
