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

import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgeline.artifacts.calibration import BINARY, MULTICLASS, Calibration
from edgeline.artifacts.decision_threshold import says_yes
from edgeline.artifacts.features import missing
from edgeline.artifacts.models import PREDICTION
from edgeline.artifacts.reference import Categories, Column, Numbers, Reference, text_of
from edgeline.formats.dtypes import Array
from edgeline.runtimes.concept import ConceptTest
from edgeline.runtimes.estimated import Interval, ScoreTally, estimate, none_of, tally
from edgeline.runtimes.interpreter import dequantise
from edgeline.runtimes.measured import ERRORS, RMSE, measure, right
from edgeline.runtimes.metric_names import MSE
from edgeline.server.models.model import Description
from edgeline.server.settings import ServerSettings
from edgeline.server.watching.kept_answers import KeptAnswers, key_of, keys_of
from edgeline.server.watching.labels import LabelReader

MOST_SLICES = 20  # of a column that are told, the largest first
MOST_FILES = 4  # versions of a model whose answers are kept on the disk
LEAST_SLICE = 30  # labelled rows of a slice that is told
TASKS = (BINARY, MULTICLASS, "regression")
_OTHER, _MISSING = 0xFFFF, 0xFFFE
_NO_MAP = (
    "Its bundle has no calibration of its scores: verify and publish the model again, with at "
    "least 100 labelled rows in the evaluation split."
)
_NO_SCORE = "A regression has no score that says how sure it is: only labels tell its error."


class Sampled(NamedTuple):
    """A prediction that was sampled: what went in and out of each `step`-th row of a request, and
    the id that the client gave it, or ""."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    identity: str = ""
    step: int = 1


class Decay:
    """Of one version. Safe for threads; `take` is for the thread that watches.

    Attributes:
        task: its bundle's.
        reader: of its labels.
        unnamed: rows that wait for no label, as their request had no id.
    """

    def __init__(self, description: Description, settings: ServerSettings) -> None:
        assert description.bundle is not None
        self.task = description.bundle.task
        self.reader = LabelReader(self.task, description.labels)
        self.unnamed = 0
        self._outputs = [each for each in description.signature.outputs if each.name == PREDICTION]
        self._threshold = description.decision_threshold
        known = description.calibration
        self._calibration = known if known is not None and known.task == self.task else None
        self._usual = _usual(description, self._calibration)
        self._drop = settings.decay_drop
        self._window, self._least = settings.drift_window, settings.drift_rows
        self._slices = _slices(description.reference, settings.decay_slices)
        self._kept = KeptAnswers(settings.label_memory, settings.label_wait, len(self._slices))
        self._test = ConceptTest(max(settings.decay_margin, uncertainty(self._calibration)))
        self._lock = threading.Lock()
        self._changed = False
        self._file = _file(settings.state, description)
        if self._file is not None:
            self._kept.restore(self._file)

    @property
    def waiting(self) -> int:
        """Rows that wait for their labels."""
        with self._lock:
            return self._kept.waiting

    def take(self, sampled: Sequence[Sampled]) -> ScoreTally | None:
        """Keep the named ones for their labels; the tally of all scores, None without a map."""
        if not sampled:
            return None
        scores, decided = self._scored([each.outputs[PREDICTION] for each in sampled])
        keys = np.zeros(len(scores), np.uint64)
        first = 0
        for each in sampled:
            rows = len(each.outputs[PREDICTION])
            if each.identity:
                places = np.arange(rows) * each.step
                keys[first : first + rows] = keys_of(key_of(each.identity), places)
            first += rows
        named = np.flatnonzero(keys)
        with self._lock:
            self.unnamed += len(keys) - len(named)
            if len(named):
                codes = self._codes([each.inputs for each in sampled], len(keys))
                self._kept.put(keys[named], scores[named], decided[named], codes[named])
                self._changed = True
        if self._calibration is None:
            return None
        return tally(self._calibration, scores, decided)

    def join(self, keys: Array, truth: Array) -> tuple[int, Array]:
        """Give answers their labels (see `LateLabels`): how many got their first one, and which
        labels' answers are known here, bool [labels]."""
        with self._lock:
            rows, known = self._kept.join(keys, truth)
            if len(rows) and self._calibration is not None:
                self._test.add(*self._outcomes(rows))
            self._changed = self._changed or bool(len(rows))
        return len(rows), known

    def report(self, window: ScoreTally | None, since: float) -> dict[str, Any]:
        """What `GET /decay` tells of a version; `window` is what was counted since `since`."""
        with self._lock:
            self._kept.expire()
            rows = self._kept.labelled(self._window, self._least).copy()
            expected, hits = self._outcomes(rows)
            measured = self._measured(rows)
            concept = self._concept(expected, hits)
            kept = {
                "waiting": self._kept.waiting,
                "most": self._kept.capacity,
                "bytes": self._kept.bytes,
                "lost": {name: self._kept.lost[name] for name in ("evicted", "expired")},
                "unnamed": self.unnamed,
            }
        return {
            "task": self.task,
            "rows_needed": self._least,
            "usual": self._usual,
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
                self._kept.save(self._file)
                self._changed = False
                for old in sorted(self._file.parent.glob("*.npz"), key=_number)[:-MOST_FILES]:
                    old.unlink(missing_ok=True)

    def none(self) -> ScoreTally | None:
        """The tally of no row; None without a map."""
        return none_of(self._calibration) if self._calibration is not None else None

    def _scored(self, predictions: Sequence[Array]) -> tuple[Array, Array]:
        """The score and the decision of each row: float32 and int32 [rows].

        Args:
            predictions: as the model stores them, [rows, ...] each.
        """
        stored = np.concatenate([each.reshape(len(each), -1) for each in predictions])
        real = dequantise({PREDICTION: stored}, tuple(self._outputs))[PREDICTION]
        if self.task == MULTICLASS:
            return real.max(axis=1).astype(np.float32), real.argmax(axis=1).astype(np.int32)
        scores = real[:, -1].astype(np.float32)
        decided = says_yes(scores, self._threshold) if self.task == BINARY else np.zeros(len(real))
        return scores, decided.astype(np.int32)

    def _outcomes(self, rows: Any) -> tuple[Array, Array]:
        """With what probability each labelled row's decision is right, and whether it is."""
        if self._calibration is None:
            return np.zeros(0), np.zeros(0, bool)
        p = self._calibration(rows["score"])
        if self.task == BINARY:
            p = np.where(rows["decided"] != 0, p, 1 - p)
        return p, right(self.task, rows["decided"], rows["truth"])

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
        for place, each in enumerate(self._slices):
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

    def _concept(self, expected: Array, hits: Array) -> dict[str, Any]:
        """What the test of labelled rows says; an alarm is lifted once the rows that came after it
        are right as often as expected."""
        if self._calibration is None:
            return {"drifting": False, "not_told": "Without an estimate there is nothing to miss."}
        test = self._test
        after = test.rows - test.alarm
        if test.alarm and after >= self._least and len(hits) >= after:
            recent = slice(len(hits) - after, None)
            if hits[recent].mean() >= expected[recent].mean() - test.margin:
                test.lift()
        return {
            "drifting": bool(test.alarm),
            "expected_accuracy": round(float(expected.mean()), 6) if len(expected) else None,
            "measured_accuracy": round(float(hits.mean()), 6) if len(hits) else None,
            "margin": round(test.margin, 6),
            **test.to_json(),
        }

    def _decayed(self, found: Mapping[str, Interval]) -> list[str]:
        """The metrics whose interval is worse than usual by more than the drop."""
        worse = []
        for name, value in found.items():
            usual = self._usual.get(name)
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
        found = np.full((rows, len(self._slices)), _OTHER, np.uint16)
        for place, each in enumerate(self._slices):
            if all(each.column in one for one in inputs):
                columns = [one[each.column] for one in inputs]
                firsts = [column.reshape(len(column), -1)[:, 0] for column in columns]
                found[:, place] = each.codes(np.concatenate(firsts))
        return found


@dataclass(frozen=True)
class SliceColumn:
    """A column whose values are slices: those that its reference lists, of numbers quarters.

    Attributes:
        names: of the slices, by their codes.
        places: codes of values, for `codes`; cuts where the column is of numbers.
    """

    column: str
    names: tuple[str, ...]
    places: Mapping[str, int] | Array

    def codes(self, values: Array) -> Array:
        """Of values [rows]: uint16 [rows]."""
        absent = missing(values)
        if isinstance(self.places, Mapping):
            strings = values.dtype.kind in "OSU"
            texts = map(text_of if strings else str, values.tolist())
            found = np.array([self.places.get(each, _OTHER) for each in texts], np.uint16)
        else:
            places = np.searchsorted(self.places, values.astype(np.float64), side="left")
            found = places.astype(np.uint16)
        if absent is not None:
            found[absent] = _MISSING
        return found

    def name(self, code: int) -> str:
        """What a slice is called."""
        return {_OTHER: "(other)", _MISSING: "(missing)"}.get(code) or self.names[code]


def unknown_slices(reference: Reference | None, asked: str) -> list[str]:
    """The names in `decay_slices` that are not a column of a model's inputs."""
    known = reference.inputs if reference is not None else {}
    return [name for name in _names(asked) if name not in known]


def _slices(reference: Reference | None, asked: str) -> list[SliceColumn]:
    known = reference.inputs if reference is not None else {}
    return [_slice_column(name, known[name]) for name in _names(asked) if name in known]


def _names(asked: str) -> list[str]:
    return list(dict.fromkeys(filter(None, map(str.strip, asked.split(",")))))


def _slice_column(name: str, column: Column) -> SliceColumn:
    if isinstance(column, Categories):
        values = tuple(column.values)
        return SliceColumn(name, values, {value: place for place, value in enumerate(values)})
    assert isinstance(column, Numbers)
    total = np.cumsum(column.counts)
    quarters = np.searchsorted(total, total[-1] * np.array([0.25, 0.5, 0.75]))
    cuts = np.unique(column.cuts[np.minimum(quarters, len(column.cuts) - 1)])
    ends = [f"{cut:.4g}" for cut in cuts]
    between = [f"above {a} to {b}" for a, b in itertools.pairwise(ends)]
    names = (f"to {ends[0]}", *between, f"above {ends[-1]}") if ends else ("all",)
    return SliceColumn(name, names, cuts)


def _usual(description: Description, calibration: Calibration | None) -> dict[str, float]:
    """What the edge model reached on held-out rows, by metric; a manifest may be anyone's."""
    if calibration is not None:
        return dict(calibration.metrics)
    assert description.bundle is not None
    metrics = description.bundle.verification.get("metrics")
    found = metrics.get(MSE) if isinstance(metrics, dict) else None
    value = found.get("edge") if isinstance(found, dict) else None
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return {}
    return {RMSE: math.sqrt(value)}


def uncertainty(calibration: Calibration | None) -> float:
    """Two standard deviations of the map's mean over the held-out rows."""
    if calibration is None:
        return 0.0
    shares = calibration.rows / calibration.rows.sum()
    return 2 * math.sqrt(float((shares**2 * calibration.variances[1::2]).sum()))


def _file(state: str | None, description: Description) -> Path | None:
    if state is None:
        return None
    return Path(state) / "answers" / description.name / f"{description.version}.npz"


def _number(file: Path) -> int:
    return int(file.stem) if file.stem.isdigit() else 0


def watched(description: Description, settings: ServerSettings) -> Decay | None:
    """The decay of a version; None of one whose bundle tells no task, or no reference to watch."""
    bundle = description.bundle
    if bundle is None or description.reference is None or bundle.task not in TASKS:
        return None
    shapes = [each.shape for each in description.signature.outputs if each.name == PREDICTION]
    if not shapes or not shapes[0] or any(size < 1 for size in shapes[0][1:]):
        return None  # no values by row
    return Decay(description, settings)
