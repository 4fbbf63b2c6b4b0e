"""Rows into Parquet parts, one folder per split, with bounded memory.

A row group holds `GROUP_ROWS` rows, fewer where they are long (see `batches.Group`), so neither
the size of a reader's batches nor the speed of a machine shows in the bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edgeline.artifacts import batches

GROUP_ROWS = 1 << 16
GROUP_BYTES = 16 << 20
PART_ROWS = 1_000_000
PART_BYTES = 1 << 30  # before compression


class SplitWriter:
    """Writes the rows of one split; `rows` counts them.

    `begin` starts a new part, so that a part never mixes two source files; a part
    that would be empty is not written.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._folder = folder
        self._schema = schema
        self._parts = 0
        self._room = 0  # of the open part, in rows
        self._size = 0  # of the open part, in bytes
        self._waiting = batches.Group(GROUP_ROWS, GROUP_BYTES)
        self._writer: pq.ParquetWriter | None = None

    def begin(self) -> None:
        """End the part that is open; the next row opens another."""
        self._flush()
        self._close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows, in their order."""
        self.rows += len(batch)
        while len(batch):
            batch = self._waiting.take(batch)
            if self._waiting.full:
                self._flush()

    def _flush(self) -> None:
        size = self._waiting.size
        group = pa.Table.from_batches(self._waiting.release(), self._schema)
        while group.num_rows:
            if not self._room:
                self._close()
            if self._writer is None:
                self._open()
            assert self._writer is not None
            fitting = group.slice(0, self._room)
            self._writer.write_table(fitting, row_group_size=GROUP_ROWS)
            self._room -= fitting.num_rows
            group = group.slice(fitting.num_rows)
        self._size += size
        if self._size >= PART_BYTES:
            self._close()

    def _open(self) -> None:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"part-{self._parts:05d}.parquet"
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._parts += 1
        self._room = PART_ROWS

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._room, self._size = None, 0, 0


@contextlib.contextmanager
def writing_parts(folder: Path, schema: pa.Schema) -> Iterator[SplitWriter]:
    """Parts that are closed at the end of the block, whatever ends it."""
    parts = SplitWriter(folder, schema)
    try:
        yield parts
        parts.begin()
    finally:
        parts._close()
