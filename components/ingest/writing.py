"""All rows of the data, or the windows over them, into the parts of their splits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from edgeline.artifacts.ahead import ahead
from edgeline.artifacts.windows import Windows
from edgeline.components.ingest.equal_rows import EqualRows
from edgeline.components.ingest.identifiers import Identifiers
from edgeline.components.ingest.parts import SplitWriter, writing_parts
from edgeline.components.ingest.placed_rows import PlacedRows, schema_of
from edgeline.components.ingest.rows import RowReader, Rows
from edgeline.components.ingest.split import Numbers, SplitRule
from edgeline.components.ingest.window_rows import SeriesFiles
from edgeline.stores.storage import File


@dataclass(frozen=True)
class TakenData:
    """What is taken of the data: its files, and how their rows are read."""

    files: Sequence[File]
    reader: RowReader
    schema: pa.Schema

    def placed_rows(
        self, placed: PlacedRows | None, split_column: str
    ) -> Iterator[tuple[str, Rows]]:
        """All rows with their file, as a rule that is planned reads them.

        Where the column that decides the split is the windows' own, without those that are in no
        window, since these have no split.
        """
        within = placed and split_column in (placed.windows.time, placed.windows.key)
        for file in self.files:
            for rows in self.reader.batches(file, self.schema):
                yield file.name, placed.rows(rows, count=False)[0] if placed and within else rows


class WrittenSplits:
    """The parts of each split, open, and what was counted of the rows that went into them."""

    def __init__(
        self, stack: contextlib.ExitStack, folder: Path, schema: pa.Schema, names: Sequence[str]
    ) -> None:
        self._parts = {
            name: stack.enter_context(writing_parts(folder / name, schema)) for name in names
        }
        self.equal = EqualRows()
        self.identifiers = Identifiers(schema)

    @property
    def rows(self) -> dict[str, int]:
        """How many each split has."""
        return {name: part.rows for name, part in self._parts.items()}

    def take(self, rows: Rows, assigned: Numbers) -> None:
        """Count rows, and append each to its split."""
        self.equal.update(rows.hashes, assigned)
        self.identifiers.update(rows.typed)
        _distribute(rows.typed, assigned, [*self._parts.values()])

    def begin_parts(self) -> None:
        """What comes next goes into new parts."""
        for part in self._parts.values():
            part.begin()


def write_rows(folder: Path, taken: TakenData, rule: SplitRule, part_a_file: bool) -> WrittenSplits:
    """Write all rows, by their split; with `part_a_file` no part mixes two files."""
    with contextlib.ExitStack() as stack:
        written = WrittenSplits(stack, folder, taken.schema, rule.names)
        for file in taken.files:
            for rows in ahead(taken.reader.batches(file, taken.schema)):
                written.take(rows, rule.assign(rows))
            if part_a_file:
                written.begin_parts()
    return written


def write_windows(
    folder: Path,
    taken: TakenData,
    rule: SplitRule,
    placed: PlacedRows,
    windows: Windows,
    spool: Path,
) -> WrittenSplits:
    """Write the windows over all rows, which are sorted in `spool`.

    Args:
        windows: those of `placed`, by the names that the columns are given.
    """
    schema = schema_of(taken.schema, windows)
    with contextlib.ExitStack() as stack:
        written = WrittenSplits(stack, folder, schema, rule.names)
        series = SeriesFiles(spool / "series", taken.schema, windows)
        for file in taken.files:
            for rows in ahead(taken.reader.batches(file, taken.schema)):
                series.add(*placed.rows(rows), rule.assign)
        for batch, assigned in series.cut(placed.dropped):
            written.take(Rows(batch, batch), assigned)
    return written


def _distribute(batch: pa.RecordBatch, assigned: Numbers, parts: Sequence[SplitWriter]) -> None:
    for number, part in enumerate(parts):
        bits = np.packbits(assigned == number, bitorder="little")
        # from a buffer, because a conversion by Arrow would import pandas
        chosen = pa.Array.from_buffers(pa.bool_(), len(batch), [None, pa.py_buffer(bits)])
        part.add(batch.filter(chosen))
