"""Rows of each series in order of time, and the windows that are cut of them, in bounded memory.

Rows are written into files beside the output, one for each of the first `FILES` series and shared
by all others. Then a file at a time is sorted and cut. One of more than `MOST_BYTES` is divided
again; where it is of one series it is cut as it is, which asks that it be in order already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from edgeline.artifacts.features import is_list
from edgeline.artifacts.windows import Windows
from edgeline.components.ingest.arrow_numbers import (
    Mask,
    to_array,
    to_bools,
    to_codes,
    to_ints,
    to_mask,
)
from edgeline.components.ingest.placed_rows import (
    Dropped,
    schema_of,
)
from edgeline.components.ingest.row_hash import hashes, joined, value_bytes
from edgeline.components.ingest.rows import BATCH_BYTES, Rows
from edgeline.components.ingest.split import Numbers
from edgeline.errors import EdgelineError

FILES = 64
MOST_BYTES = 128 << 20  # that are sorted in memory
TIME, KEY, SPLIT = "\0time", "\0key", "\0split"  # columns beside the data's own


class SeriesFiles:
    """Rows by their series, on the disk."""

    def __init__(self, folder: Path, schema: pa.Schema, windows: Windows, level: int = 0) -> None:
        """
        Args:
            schema: of the rows as they would be written.
            windows: with the names that this schema has.
            level: how often series that share a file were divided before.
        """
        self._folder, self._schema, self._windows, self._level = folder, schema, windows, level
        self._own: dict[object, int] = {}  # the files of the first series
        self._first: dict[int, object] = {}  # the first series of each file
        self._shared: set[int] = set()
        self._writers: dict[int, ipc.RecordBatchFileWriter] = {}
        folder.mkdir(exist_ok=True)

    def add(
        self, rows: Rows, time: pa.Array, key: pa.Array | None, assign: Callable[[Rows], Numbers]
    ) -> None:
        """Take rows in, with their times, their keys where they have any, and their split."""
        if not len(time):
            return
        columns = [*rows.typed.columns, time.cast(pa.int64()), to_array(assign(rows))]
        fields = [*self._schema, pa.field(TIME, pa.int64()), pa.field(SPLIT, pa.int64())]
        if key is not None:
            columns.append(key)
            fields.append(pa.field(KEY, key.type))
        self._spread(pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields)))

    def cut(self, dropped: Dropped) -> Iterator[tuple[pa.RecordBatch, Numbers]]:
        """The windows, some at a time, with the numbers of their splits.

        Args:
            dropped: counts what is in none.

        Raises:
            EdgelineError: a series is too long to be sorted, and not in order.
        """
        self.close()
        for number in sorted(self._writers):
            path = self._path(number)
            with pa.memory_map(str(path)) as mapped:
                reader = ipc.open_file(mapped)
                if path.stat().st_size <= MOST_BYTES:
                    pieces = _sorted(reader)
                elif number in self._shared:
                    inner = SeriesFiles(
                        self._folder / f"series-{number}",
                        self._schema,
                        self._windows,
                        self._level + 1,
                    )
                    for place in range(reader.num_record_batches):
                        inner._spread(reader.get_batch(place))
                    yield from inner.cut(dropped)
                    pieces = iter(())
                else:
                    pieces = self._in_order(reader)
                cutter = Cutter(self._windows, self._schema, dropped)
                for piece in pieces:
                    yield from cutter.take(piece)
                cutter.end()
            path.unlink()

    def close(self) -> None:
        """Write no more."""
        for writer in self._writers.values():
            writer.close()

    def _spread(self, batch: pa.RecordBatch) -> None:
        if not len(batch):
            return
        if not self._windows.key:
            self._write(0, batch)
            return
        files = self._files(batch.column(KEY))
        order = np.argsort(files, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(files[order])) + 1, len(batch))
        batch = batch.take(to_array(order)) if len(ends) > 1 else batch
        start = 0
        for end in ends.tolist():
            self._write(int(files[order[start]]), batch.slice(start, end - start))
            start = end

    def _in_order(self, reader: ipc.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
        """The rows of one series as they are.

        Raises:
            EdgelineError: they would have to be sorted.
        """
        last = -(2**63)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            times = to_ints(batch.column(TIME))
            if times[0] < last or (np.diff(times) < 0).any():
                key = self._windows.key
                of = f" of {key} {batch.column(KEY)[0].as_py()!r}" if key else ""
                raise EdgelineError(
                    f"The rows{of} are not in order of {self._windows.time!r}, and are more than "
                    f"the {MOST_BYTES >> 20} MiB that ingest sorts: sort them by "
                    f"{self._windows.time!r} where they are written, or take fewer columns."
                )
            last = int(times[-1])
            yield batch

    def _files(self, key: pa.Array) -> Numbers:
        """The number of each row's file."""
        coded = key.dictionary_encode()
        values = coded.dictionary
        spread = hashes(joined([value_bytes(values)])) // np.uint64(FILES**self._level)
        numbers = (spread % np.uint64(FILES)).astype(np.int64)
        for place, value in enumerate(values.to_pylist()):
            if value not in self._own and len(self._own) < FILES:
                self._own[value] = len(self._own)
            numbers[place] = number = self._own.get(value, int(numbers[place]))
            if self._first.setdefault(number, value) != value:
                self._shared.add(number)
        places = np.frombuffer(coded.indices.buffers()[1], np.int32, len(key))
        return numbers[places]

    def _write(self, number: int, batch: pa.RecordBatch) -> None:
        if number not in self._writers:
            self._writers[number] = ipc.new_file(str(self._path(number)), batch.schema)
        self._writers[number].write_batch(batch)

    def _path(self, number: int) -> Path:
        return self._folder / f"series-{number}.arrow"


class Cutter:
    """Cuts rows that come by series and time into windows; what is open waits for more."""

    def __init__(self, windows: Windows, schema: pa.Schema, dropped: Dropped) -> None:
        self._windows, self._schema, self._dropped = windows, schema, dropped
        self._out = schema_of(schema, windows)
        self._carry: pa.RecordBatch | None = None
        self._skip = 0  # rows from the carry's begin to that of the next window
        self._before = self._cut = (
            0  # rows before the carry, and windows, of the piece that is open
        )
        self._of_series = 0  # windows of the series that is open

    def take(self, rows: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, Numbers]]:
        """Windows that end in these rows, which come behind all before."""
        if not len(rows):
            return
        fresh = self._carry is None
        if self._carry is not None:
            rows = pa.concat_batches([self._carry, rows])
        keys = to_codes(rows.column(KEY)) if self._windows.key else np.zeros(len(rows), np.int64)
        times = to_ints(rows.column(TIME))
        other = np.diff(keys) != 0
        again = ~other & (np.diff(times) == 0)
        if again.any():
            self._dropped.same_time += int(again.sum())
            first = np.append(True, ~again)
            rows, keys, times = rows.filter(to_bools(first)), keys[first], times[first]
            other = np.diff(keys) != 0
        new_piece = other
        if self._windows.max_gap is not None:
            apart = np.diff(times.view(np.uint64))  # of all int64, without an overflow
            new_piece = other | (apart > np.uint64(self._windows.max_gap))
        begins = np.append(0, np.flatnonzero(new_piece) + 1)
        ends = np.append(begins[1:], len(rows))
        firsts = begins.copy()
        firsts[0] += 0 if fresh else self._skip
        size, stride = self._windows.size, self._windows.stride
        counts = np.maximum(0, (ends - firsts - size) // stride + 1)
        lengths, cut = ends - begins, counts.copy()
        lengths[0] += self._before
        cut[0] += self._cut
        self._account(lengths[:-1], cut[:-1])
        self._account_series(np.append(False, other)[begins], counts)
        starts = np.repeat(firsts - stride * (np.cumsum(counts) - counts), counts)
        starts = starts + stride * np.arange(len(starts))
        yield from self._windows_at(rows, starts)
        following = int(firsts[-1] + stride * counts[-1])
        kept = min(following, len(rows) - 1)  # the last row, at least, to tell what follows it
        self._skip = following - kept
        self._before = int(lengths[-1]) - (len(rows) - kept)
        self._cut = int(cut[-1])
        self._carry = _copied(rows.slice(kept))

    def end(self) -> None:
        """Count what is left, as no more rows come."""
        if self._carry is not None:
            rows = self._before + len(self._carry)
            self._account(np.array([rows]), np.array([self._cut]))
            self._dropped.short_series += self._of_series == 0

    def _account(self, lengths: Numbers, cut: Numbers) -> None:
        """Count the rows of pieces that have ended which are in no window."""
        size, stride = self._windows.size, self._windows.stride
        covered = np.where(stride < size, (cut - 1) * stride + size, cut * size)
        self._dropped.short += int(lengths[cut == 0].sum())
        self._dropped.behind += int((lengths - covered)[cut > 0].sum())

    def _account_series(self, new_series: Mask, cut: Numbers) -> None:
        """Count the series that have ended without a window.

        Args:
            new_series: whether a piece is the first of another series than the one before.
            cut: the windows of each piece that were not counted before.
        """
        places = np.append(0, np.flatnonzero(new_series))
        sums = np.add.reduceat(cut, places) if len(cut) else cut
        sums[0] += self._of_series
        self._dropped.short_series += int((sums[:-1] == 0).sum())
        self._of_series = int(sums[-1])

    def _windows_at(
        self, rows: pa.RecordBatch, starts: Numbers
    ) -> Iterator[tuple[pa.RecordBatch, Numbers]]:
        size = self._windows.size
        row_bytes = max(1, rows.nbytes // len(rows))
        step = max(1, BATCH_BYTES // (size * row_bytes))
        splits = to_ints(rows.column(SPLIT))
        for begin in range(0, len(starts), step):
            places = starts[begin : begin + step, None] + np.arange(size)
            of = splits[places]
            same = (of == of[:, :1]).all(axis=1)
            self._dropped.across += int((~same).sum())
            if same.any():
                places = places[same]
                columns = [
                    self._column(rows.column(column.name), column, places)
                    for column in self._schema
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=self._out), of[same][:, -1]

    def _column(self, values: pa.Array, column: pa.Field, places: Numbers) -> pa.Array:
        if column.name not in self._windows.columns:
            return values.take(to_array(places[:, -1]))
        kind = self._out.field(column.name).type
        if not is_list(values.type):
            return pa.FixedSizeListArray.from_arrays(values.take(to_array(places)), type=kind)
        width = values.type.list_size
        inner = (places.reshape(-1, 1) + values.offset) * width + np.arange(width)
        held = np.repeat(to_mask(values.is_valid())[places.reshape(-1)], width)
        flat = values.values.take(to_array(inner, held))
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def _sorted(reader: ipc.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    """A file's rows by series and time; those of one time as they came."""
    table = reader.read_all().combine_chunks()
    if not len(table):
        return
    (batch,) = table.to_batches()
    times = to_ints(batch.column(TIME))
    by = [times]
    if KEY in batch.schema.names:
        by.append(to_codes(batch.column(KEY)))
    order = np.lexsort(by)
    if (np.diff(order) != 1).any():
        batch = batch.take(to_array(order))
    step = max(1, len(batch) * BATCH_BYTES // max(batch.nbytes, 1))
    for start in range(0, len(batch), step):
        yield batch.slice(start, step)


def _copied(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A few rows on their own, so that those before them are let go."""
    return batch.take(to_array(np.arange(len(batch))))
