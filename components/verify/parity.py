"""Parity: the cloud model against the edge model, row by row, over a whole split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeline.artifacts.differences import difference
from edgeline.artifacts.models import LABEL, PREDICTION
from edgeline.artifacts.sampling import spread
from edgeline.components.verify.drops import Drops
from edgeline.components.verify.slice_metrics import SliceMetrics
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes.metrics import decisions, drop, metric

POINTS = 2000  # rows drawn in the report, evenly spread
WORST = 20
EDGES = 10.0 ** np.arange(-9, 2)  # of the histogram of differences

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Batch:
    """Some rows: raw features, and what the cloud (with the label) and the edge model say.

    `slices` has, by the columns that requirements are about, the value of each row, for people.
    """

    raw: Arrays
    cloud: Arrays
    edge: Arrays
    slices: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class ParityRow:
    """One row of the split with its raw features and both predictions."""

    number: int
    difference: float
    raw: Mapping[str, Any]
    cloud: tuple[float, ...]
    edge: tuple[float, ...]


@dataclass
class Parity:
    """What the comparison of all rows found.

    Differences are those of `edgeline.artifacts.differences`: absolute up to a value of 1,
    relative above.

    Attributes:
        rows, labelled_rows: rows compared, and of them those with a finite label.
        outputs: by name, `max_difference` and `mean_difference` over the values that are
            finite in both.
        not_finite: rows in which one model gives NaN or infinity and the other does not agree.
        changed_decisions: rows in which the two decide differently.
        metrics: by name, `cloud`, `edge` and `drop` (see `metrics.drop`).
        drops_at_most: by name, what that drop is not above on rows that were not seen (see
            `drops`); None where too few have a label.
        histogram: rows by largest difference: equal, below `EDGES[0]`, between, above, and
            not finite last.
        worst: the rows with the largest differences, largest first.
        points: (cloud, edge) of evenly spread rows: the probability or value, for a
            multiclass task that of the cloud's class.
        slices: metrics of the edge model by the slices that were asked for, all rows first (see
            `edgeline.artifacts.outcomes.of_metrics`).
    """

    rows: int = 0
    labelled_rows: int = 0
    outputs: dict[str, dict[str, float]] = field(default_factory=dict)
    not_finite: int = 0
    changed_decisions: int = 0
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)
    drops_at_most: dict[str, float | None] = field(default_factory=dict)
    histogram: list[int] = field(default_factory=list)
    worst: list[ParityRow] = field(default_factory=list)
    points: list[tuple[float, float]] = field(default_factory=list)
    slices: list[dict[str, Any]] = field(default_factory=list)

    @property
    def max_difference(self) -> float:
        return max(output["max_difference"] for output in self.outputs.values())

    @property
    def mean_difference(self) -> float:
        return max(output["mean_difference"] for output in self.outputs.values())


def compare(
    batches: Iterable[Batch],
    rows: int,
    task: str,
    threshold: float,
    columns: Iterable[tuple[str, ...]] = (),
) -> Parity:
    """Compare every row of a split.

    Args:
        batches: the split in its order; `cloud` has the outputs and `label`.
        rows: how many rows the split has.
        task: of `edgeline.artifacts.models.TASKS`.
        threshold: above it a binary prediction is a yes.
        columns: whose combinations of values are slices of their own, of those in the batches.

    Raises:
        EdgelineError: an output is absent on the edge or has another shape, or another
            number of rows came than the split has.
    """
    parity = Parity(histogram=[0] * (len(EDGES) + 3))
    cloud_metric, edge_metric = metric(task, threshold), metric(task, threshold)
    drops = Drops(task, threshold)
    by_slice = SliceMetrics(task, threshold, tuple(columns))
    totals: dict[str, list[float]] = {}  # largest, sum, count
    drawn = spread(rows, POINTS)
    for batch in batches:
        largest = _differences(batch, totals)
        count = len(largest)
        cloud, edge = (side[PREDICTION].reshape(count, -1) for side in (batch.cloud, batch.edge))
        before, after = (decisions(task, side, threshold) for side in (cloud, edge))
        broken = np.isinf(largest)
        parity.not_finite += int(broken.sum())
        if before is not None:
            parity.changed_decisions += int(np.sum((before != after) | broken))
        label = batch.cloud[LABEL].reshape(-1).astype(np.float64)
        labelled = np.isfinite(label)
        parity.labelled_rows += int(labelled.sum())
        cloud_metric.add(cloud[labelled], label[labelled])
        edge_metric.add(edge[labelled], label[labelled])
        drops.add(cloud[labelled], edge[labelled], label[labelled])
        by_slice.add(batch.slices, edge, label, labelled)
        _count(parity.histogram, largest)
        parity.worst = _worst(parity, batch.raw, largest, cloud, edge)
        here = drawn[(drawn >= parity.rows) & (drawn < parity.rows + count)] - parity.rows
        column = np.argmax(cloud[here], axis=1)
        pairs = zip(cloud[here, column].tolist(), edge[here, column].tolist(), strict=True)
        parity.points += pairs
        parity.rows += count
    if parity.rows != rows or not rows:
        raise EdgelineError(
            f"{parity.rows:,} rows were compared, but the split has {rows:,}: ingest it again."
        )
    parity.outputs = {
        name: {"max_difference": largest, "mean_difference": total / max(count, 1)}
        for name, (largest, total, count) in totals.items()
    }
    cloud_results, edge_results = cloud_metric.result(), edge_metric.result()
    parity.metrics = {
        name: {
            "cloud": value,
            "edge": edge_results[name],
            "drop": drop(name, value, edge_results[name]),
        }
        for name, value in cloud_results.items()
    }
    parity.drops_at_most = drops.at_most()
    own = {name: {"value": value} for name, value in edge_results.items()}
    everywhere = {"slice": {}, "name": "all rows", "examples": parity.labelled_rows}
    parity.slices = [{**everywhere, "metrics": own}, *by_slice.result()]
    return parity


def _differences(batch: Batch, totals: dict[str, list[float]]) -> Array:
    """The largest difference of each row over all outputs; adds to the totals by output."""
    names = [name for name in sorted(batch.cloud) if name != LABEL]
    if PREDICTION not in names:
        raise EdgelineError(
            f"The model has no output {PREDICTION!r}, only {', '.join(names)}: name it so."
        )
    largest = np.zeros(len(batch.cloud[PREDICTION]))
    for name in names:
        expected = batch.cloud[name]
        if name not in batch.edge:
            raise EdgelineError(
                f"The edge model has no output {name!r}, only {', '.join(sorted(batch.edge))}: "
                "convert the model again."
            )
        answer = batch.edge[name]
        if answer.shape != expected.shape:
            raise EdgelineError(
                f"Output {name!r} has shape {list(answer.shape)} on the edge, but "
                f"{list(expected.shape)} in the cloud: convert the model again."
            )
        gaps = difference(answer, expected).reshape(len(expected), -1)
        finite = gaps[np.isfinite(gaps)]
        total = totals.setdefault(name, [0.0, 0.0, 0])
        total[0] = max(total[0], float(finite.max(initial=0.0)))
        total[1] += float(finite.sum())
        total[2] += finite.size
        largest = np.maximum(largest, gaps.max(axis=1))
    return largest


def _count(histogram: list[int], largest: Array) -> None:
    equal, broken = largest == 0, np.isinf(largest)
    places = np.digitize(largest[~equal & ~broken], EDGES) + 1
    histogram[0] += int(equal.sum())
    histogram[-1] += int(broken.sum())
    for place, count in enumerate(np.bincount(places, minlength=len(histogram))):
        histogram[place] += int(count)


def _worst(
    parity: Parity, raw: Arrays, largest: Array, cloud: Array, edge: Array
) -> list[ParityRow]:
    candidates = np.argsort(-largest, kind="stable")[:WORST]
    rows = [
        ParityRow(
            parity.rows + int(index),
            float(largest[index]),
            {name: array[index].reshape(-1).tolist() for name, array in raw.items()},
            tuple(cloud[index].tolist()),
            tuple(edge[index].tolist()),
        )
        for index in candidates
        if largest[index] > 0
    ]
    return sorted(parity.worst + rows, key=lambda row: (-row.difference, row.number))[:WORST]
