"""Parquet files cut into slices of rows, so that work on them spreads over workers.

A slice is one file of the exchange: record batches in Arrow's stream form, as the files give them,
so that what is made of them batch by batch is the same wherever it is made.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from edgeline.artifacts import batches
from edgeline.beam.exchange import Exchange

SPREAD = 64  # slices, where there are rows enough for so many
MOST_ROWS = 1 << 18
MOST_BYTES = 64 << 20
SENDING = 4  # at the same time


@dataclass(frozen=True)
class RowSlice:
    """Some rows of one part: `number` counts slices over all parts, `first` rows of the part.

    lot: a name for what was sent together.
    """

    lot: str
    number: int
    part: Path
    first: int
    rows: int

    @property
    def name(self) -> str:
        """Its file in the exchange."""
        return f"slices/{self.lot}/{self.number:06d}"

    @property
    def where(self) -> str:
        """For a sentence: `train/part-00000.parquet, rows from 8192`."""
        return f"{self.part.parent.name}/{self.part.name}, rows from {self.first}"


def send(
    parts: Sequence[Path],
    exchange: Exchange,
    columns: Sequence[str] | None = None,
    batch_rows: int = batches.BATCH_ROWS,
) -> list[RowSlice]:
    """Cut parts into slices of whole batches, in their order, and write them for the workers.

    Args:
        parts: Parquet files.
        exchange: where the slices go.
        columns: those that are needed; None: all.
        batch_rows: the most rows of a batch; a slice has at least one batch, and so many that
            there are about `SPREAD` slices, but at most `MOST_ROWS` rows or `MOST_BYTES`.
    """
    total = sum(pq.read_metadata(part).num_rows for part in parts)
    rows = min(MOST_ROWS, max(1, -(-total // SPREAD)))
    lot = uuid.uuid4().hex
    slices: list[RowSlice] = []
    sending: list[Future[None]] = []
    with ThreadPoolExecutor(SENDING, thread_name_prefix="slices") as pool:
        for part in parts:
            first = 0
            for group in _groups(part, columns, batch_rows, rows):
                made = RowSlice(
                    lot, len(slices), part, first, sum(batch.num_rows for batch in group)
                )
                slices.append(made)
                sending.append(pool.submit(exchange.put, made.name, pack(group)))
                first += made.rows
                if len(sending) > SENDING:  # no more is held than what is being sent
                    sending.pop(0).result()
        for each in sending:
            each.result()
    return slices


def receive(exchange: Exchange, name: str) -> Iterator[pa.RecordBatch]:
    """The record batches of a file of the exchange."""
    with pa.ipc.open_stream(exchange.get(name)) as stream:
        yield from stream


def pack(group: Sequence[pa.RecordBatch]) -> bytes:
    """At least one record batch in Arrow's stream form, compressed."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, group[0].schema, options=options) as writer:
        for batch in group:
            writer.write_batch(batch)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _groups(
    part: Path, columns: Sequence[str] | None, batch_rows: int, most_rows: int
) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    rows = size = 0
    with pq.ParquetFile(part, pre_buffer=False) as file:
        for batch in batches.stream(file, columns, batch_rows):
            group.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= most_rows or size >= MOST_BYTES:
                yield group
                group, rows, size = [], 0, 0
    if group:
        yield group
