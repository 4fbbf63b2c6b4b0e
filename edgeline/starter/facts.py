"""What a table holds, column by column, in one reading."""

from __future__ import annotations

import contextlib
import io
import math
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.ingest.ingest import ingest
from edgeline.errors import EdgelineError
from edgeline.starter import csv_form

MOST_VALUES = 10_000  # different ones of a column that are counted
SAMPLE = 65_536  # rows that are held
SAMPLE_CELLS = 10_000_000
SPLIT = "rows"
YEAR_2000, YEAR_2050 = 946_684_800_000_000, 2_524_608_000_000_000  # microseconds since 1970


@dataclass
class ColumnFacts:
    """The values of a column: how many, how often each (while they are few), and their mean."""

    type: pa.DataType
    filled: int = 0
    first_gap: int | None = None
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    rising: bool = True  # or all equal; so is falling
    falling: bool = True
    last: Any = None
    values: Counter[Any] = field(default_factory=Counter)

    @property
    def mean(self) -> float:
        return self.total / self.filled if self.filled else 0.0

    @property
    def deviation(self) -> float:
        """inf of numbers whose squares are beyond 64 bits; see `is_measurable`."""
        if not (math.isfinite(self.squares) and self.is_measurable):
            return math.inf
        return math.sqrt(max(self.squares / max(self.filled, 1) - self.mean**2, 0.0))

    @property
    def is_number(self) -> bool:
        return bool(pa.types.is_integer(self.type) or pa.types.is_floating(self.type))

    @property
    def is_time(self) -> bool:
        """Whether it is of points in time, as ingest stores them: from 2000 to 2049."""
        return bool(
            pa.types.is_integer(self.type) and self.low >= YEAR_2000 and self.high < YEAR_2050
        )

    @property
    def in_order(self) -> bool:
        """Whether its numbers never fall, or never rise: the latest may be first or last."""
        return self.rising or self.falling

    @property
    def is_many(self) -> bool:
        """Whether it has more values than are counted."""
        return len(self.values) > MOST_VALUES

    @property
    def largest(self) -> float:
        """The largest size of a number."""
        return max(abs(self.low), abs(self.high))

    @property
    def is_measurable(self) -> bool:
        """Whether its mean and deviation are within what 32 bits hold, as a model computes."""
        return self.filled == 0 or self.largest < math.sqrt(np.finfo(np.float32).max)

    def add(self, values: pa.Array, before: int) -> None:
        """Count some values, which stand after others in the column."""
        if values.null_count and self.first_gap is None:
            self.first_gap = before + int(pc.indices_nonzero(values.is_null())[0].as_py())
        there = values.drop_null()
        self.filled += len(there)
        if self.is_number and len(there):
            self._add_numbers(there)
        if not self.is_many:
            counted = there.value_counts()
            found = (counted.field(name).to_pylist() for name in ("values", "counts"))
            self.values.update(dict(zip(*found, strict=True)))

    def _add_numbers(self, there: pa.Array) -> None:
        numbers = there.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            return
        with np.errstate(over="ignore"):
            self.total += float(numbers.sum())
            self.squares += float(numbers @ numbers)
        self.low = min(self.low, float(numbers.min()))
        self.high = max(self.high, float(numbers.max()))
        steps = np.diff(numbers, prepend=numbers[0] if self.last is None else self.last)
        self.rising = self.rising and bool((steps >= 0).all())
        self.falling = self.falling and bool((steps <= 0).all())
        self.last = numbers[-1]


@dataclass(frozen=True)
class ReadTable:
    """A table that was read.

    Attributes:
        data: where it lies, as ingest takes it.
        columns: what each holds.
        rows: how many there are.
        sample: the first rows.
        settings: what ingest was told, beside its defaults.
        told: what people should know of how it was read, a sentence each.
    """

    data: str
    columns: Mapping[str, ColumnFacts]
    rows: int
    sample: pa.Table
    settings: Mapping[str, Any]
    told: tuple[str, ...] = ()


def read_table(data: str) -> ReadTable:
    """Read all rows, as ingest does with what their files ask for.

    Raises:
        EdgelineError: they cannot be found or read, or their cells are not told apart.
    """
    form = csv_form.of_data(data)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "examples"
        with contextlib.redirect_stdout(io.StringIO()):  # its notes are told below
            found = ingest(data, place, split_ratios={SPLIT: 1}, **form.settings)
        columns: dict[str, ColumnFacts] = {}
        sample: list[pa.RecordBatch] = []
        rows = 0
        for batch in examples.read_batches(artifacts.read(place, examples.SCHEMA), SPLIT):
            for column in batch.schema:
                seen = columns.setdefault(column.name, ColumnFacts(column.type))
                if not pa.types.is_nested(column.type):
                    seen.add(batch.column(column.name), rows)
            if rows < min(SAMPLE, SAMPLE_CELLS // len(columns)):
                sample.append(batch)
            rows += len(batch)
    only = next(iter(columns)) if len(columns) == 1 else ""
    if re.search(r"[\s:~^]", only):
        raise EdgelineError(
            f"{data} has one column, {only!r}: separate the cells by a comma, semicolon, tab or |."
        )
    notes = found.get("notes", [])
    assert isinstance(notes, list)
    notes = [note for note in notes if not note.endswith("if it is one")]  # ids: see features
    told = (*form.told, *(f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in notes))
    return ReadTable(data, columns, rows, pa.Table.from_batches(sample), form.settings, told)
