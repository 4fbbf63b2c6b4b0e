"""Metrics of the edge model on slices of the rows, counted batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes.metrics import Metric, metric

MISSING = "(missing)"  # as analyze calls it
MOST_SLICES = 5000


def values(column: pa.Array) -> list[str]:
    """The value of each row of a column, for people: a float32 by the digits that tell it apart."""
    if pa.types.is_float32(column.type):
        found = column.to_numpy(zero_copy_only=False)
        missing = column.is_null().to_pylist()
        return [
            MISSING if absent else str(value) for value, absent in zip(found, missing, strict=True)
        ]
    return [
        MISSING
        if value is None
        else value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else str(value)
        for value in column.to_pylist()
    ]


class SliceMetrics:
    """The metrics of a task for each combination of values of some columns.

    Args:
        columns: groups of columns; each group makes slices of its own, an empty one none.
    """

    def __init__(self, task: str, threshold: float, columns: Sequence[tuple[str, ...]]) -> None:
        self.task, self.threshold = task, threshold
        self.columns = [each for each in dict.fromkeys(columns) if each]
        self.counted: dict[tuple[tuple[str, ...], tuple[str, ...]], Metric] = {}
        self.rows: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}

    def add(
        self, slices: Mapping[str, Sequence[str]], edge: Array, label: Array, labelled: Array
    ) -> None:
        """Count some rows; those without a label count in no slice.

        Args:
            slices: the value of each row, by column.
            edge: predictions [rows, n]; label: [rows]; labelled: whether a row has one [rows].

        Raises:
            EdgelineError: there are more slices than anybody reads.
        """
        for columns in self.columns:
            rows = list(zip(*(slices[name] for name in columns), strict=True))
            places: dict[tuple[str, ...], list[int]] = {}
            for place in np.flatnonzero(labelled).tolist():
                places.setdefault(rows[place], []).append(place)
            for value, found in places.items():
                key = (columns, value)
                if key not in self.counted:
                    self.counted[key] = metric(self.task, self.threshold)
                self.counted[key].add(edge[found], label[found])
                self.rows[key] = self.rows.get(key, 0) + len(found)
        if len(self.counted) > MOST_SLICES:
            raise EdgelineError(
                f"requirements ask for slices by {', '.join(self.columns[-1])}, of which there are "
                f"more than {MOST_SLICES}: take columns with fewer values."
            )

    def result(self) -> Iterator[dict[str, Any]]:
        """Each slice as `edgeline.artifacts.outcomes.of_metrics` takes it."""
        for (columns, value), counted in sorted(self.counted.items(), key=lambda item: item[0]):
            own = dict(zip(columns, value, strict=True))
            yield {
                "slice": own,
                "name": ", ".join(f"{name}: {each}" for name, each in own.items()),
                "examples": self.rows[columns, value],
                "metrics": {name: {"value": each} for name, each in counted.result().items()},
            }
