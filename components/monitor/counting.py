"""What is counted of the rows of a window.

It is as large for any number of them, but for the answers that wait for labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeline.artifacts.models import PREDICTION
from edgeline.artifacts.ranges import FeatureRange
from edgeline.artifacts.transformed import RAW, TRANSFORMED
from edgeline.components.monitor.monitored_bundle import MonitoredBundle
from edgeline.components.monitor.payload_columns import PREFIX, columns_of
from edgeline.formats.dtypes import Array
from edgeline.monitoring.column_counts import SIDES, ColumnCounter, joined
from edgeline.monitoring.decay import TASKS, Decay, DecayLimits
from edgeline.monitoring.drift import Thresholds
from edgeline.monitoring.kept_answers import key_of, keys_of
from edgeline.monitoring.labels import MOST_ROWS
from edgeline.monitoring.range_check import RangeCheck
from edgeline.monitoring.watched_version import of_bundle

_NOT_THERE = (
    "no row has it: the server leaves out what --payload-redact names, and tensors of more than "
    "1,024 values per row"
)
_NO_RANGES = "its bundle has no ranges.json: train and publish the model again to have it"
_WINDOWS = "the server makes windows of rows, and keeps windows"
_NO_TASK = "its bundle is of no task that has labels, or gives no values by row"


@dataclass(frozen=True)
class OutOfRange:
    """A feature with values outside its range: how many rows, and the first value."""

    feature: str
    rows: int
    value: object
    allowed: FeatureRange


class PayloadCounts:
    """The rows of one version.

    Attributes:
        rows: that were counted.
        without_id: those that no label can name.
        decay: what waits for labels; None where nothing tells it, which `no_decay` then explains.
        no_ranges: why no row is compared with ranges; "" where all are.
    """

    def __init__(self, found: MonitoredBundle, limits: DecayLimits, slices: str) -> None:
        self._of = found
        self.columns = columns_of(found.bundle.signature)
        self._counter = ColumnCounter(found.reference)
        self._tallies = self._counter.none()
        self._rows_with: Counter[str] = Counter()
        self._outside: Counter[str] = Counter()
        self._first: dict[str, tuple[object, FeatureRange]] = {}
        self.rows = self.without_id = 0
        self.decay, self.no_decay = _decay(found, limits, slices)
        self._scores = self.decay.none() if self.decay is not None else None
        self.no_ranges, self._checks = self._range_checks()

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count rows without a fault (see `payload_columns.faults_of`)."""
        if not rows:
            return
        self.rows += len(rows)
        inputs: dict[str, Array] = {}  # those that every row has
        for key, column in self.columns.items():
            there = [row[key] for row in rows if key in row]
            self._rows_with[key] += len(there)
            name = column.tensor.name
            for array in column.arrays(there) if there else ():
                columns = joined([{name: array}], column.side == "outputs")
                self._counter.add(column.side, columns, self._tallies)
                if column.side == "inputs" and name in self._checks:
                    self._checks[name].outside({name: array})
                if column.side == "inputs" and len(array) == len(rows):
                    inputs[name] = array
        if self.decay is not None:
            self._score(self.decay, rows, inputs)

    @property
    def repeated(self) -> int:
        """Rows that came again under the same id and place; of those that are kept for labels."""
        return self.decay.repeated if self.decay is not None else 0

    def drift(self, since: float, limits: Thresholds) -> dict[str, Any]:
        """What `GET /drift` of a server tells of a version, and which columns are `not_compared`
        and why, and `partly`, and of how many rows."""
        found = self._counter.judged(self._tallies, limits)
        counted = {
            key: int(tally.counts.sum()) + tally.missing for key, tally in self._tallies.items()
        }
        absent = {key for key, rows in counted.items() if not rows}
        return {
            "rows": self.rows,
            "rows_needed": max(limits.rows, 1),  # of no row nothing is known
            "since": round(since, 3),
            "drifting": found["drifting"],
            **{
                side: {
                    name: told for name, told in found[side].items() if (side, name) not in absent
                }
                for side in SIDES
            },
            "not_compared": {name: _NOT_THERE for _, name in sorted(absent)},
            "partly": {
                name: rows for (_, name), rows in sorted(counted.items()) if 0 < rows < self.rows
            },
        }

    def decayed(self, since: float) -> dict[str, Any]:
        """What `GET /decay` of a server tells of a version; `not_told` where nothing does."""
        if self.decay is None:
            return {"not_told": self.no_decay}
        told = self.decay.report(self._scores, since)
        told["rows_needed"] = max(told["rows_needed"], 1)
        told["measured"]["since"] = round(since, 3)
        return told

    def out_of_range(self) -> list[OutOfRange]:
        """The features that have values outside their ranges, by name."""
        return [
            OutOfRange(name, rows, *self._first[name])
            for name, rows in sorted(self._outside.items())
        ]

    def _range_checks(self) -> tuple[str, dict[str, RangeCheck]]:
        made = self._of.bundle
        if self._of.ranges is None:
            return _NO_RANGES, {}
        if made.windows is not None:
            return _WINDOWS, {}
        if made.takes == TRANSFORMED:
            return "the model takes transformed features", {}
        raw = {each.name for each in made.features if not each.transformed}
        if made.takes == RAW:
            raw = {each.name for each in made.signature.inputs}
        return "", {
            each.name: RangeCheck(self._of.ranges, [each], False, self._found)
            for each in made.signature.inputs
            if each.name in raw and each.name in self._of.ranges
        }

    def _found(self, feature: str, rows: int, value: object, allowed: FeatureRange) -> None:
        self._outside[feature] += rows
        self._first.setdefault(feature, (value, allowed))

    def _score(
        self, decay: Decay, rows: Sequence[Mapping[str, Any]], inputs: Mapping[str, Array]
    ) -> None:
        column = self.columns[PREFIX + PREDICTION]
        there = [place for place, row in enumerate(rows) if column.key in row]
        if not there:
            return
        (predictions,) = column.arrays([rows[place][column.key] for place in there])
        keys = _keys([rows[place] for place in there])
        self.without_id += int((keys == 0).sum())
        sides = inputs if len(there) == len(rows) else {n: a[there] for n, a in inputs.items()}
        found = decay.add([predictions], keys, [sides])
        if found is not None and self._scores is not None:
            self._scores = self._scores + found


def _decay(found: MonitoredBundle, limits: DecayLimits, slices: str) -> tuple[Decay | None, str]:
    made = found.bundle
    outputs = made.signature.outputs
    shapes = [each.shape for each in outputs if each.name == PREDICTION]
    if made.task not in TASKS or not shapes or not shapes[0]:
        return None, _NO_TASK
    if any(size < 1 for size in shapes[0][1:]):
        return None, _NO_TASK
    of = of_bundle(made, outputs, made.labels, found.calibration, found.reference, slices)
    return Decay(of, limits, outputs, made.decision_threshold), ""


def _keys(rows: Sequence[Mapping[str, Any]]) -> Array:
    """By which labels find rows: uint64 [rows]; 0 where none can."""
    identities, places, named = [0] * len(rows), [0] * len(rows), np.zeros(len(rows), bool)
    for at, row in enumerate(rows):
        identity, place = row.get("edgeline_id"), row.get("edgeline_row")
        if isinstance(identity, str) and identity and type(place) is int and 0 <= place < MOST_ROWS:
            identities[at], places[at], named[at] = key_of(identity), place, True
    return np.where(named, keys_of(np.array(identities, np.uint64), np.array(places)), 0)
