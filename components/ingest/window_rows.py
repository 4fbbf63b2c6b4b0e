"""Rows of each series in order of time, and the windows that are cut of them, in bounded memory.

Rows are written into files beside the output, one for each of the first `FILES` series and shared
by all others. Then a file at a time is sorted and cut. One of more than `MOST_BYTES` is divided
again; where it is of one series it is cut as it is, which asks that it be in order already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from edgeline.artifacts.features import MISSING_INT, is_list, shape_of, with_shape
from edgeline.artifacts.windows import Windows
from edgeline.components.ingest.row_hash import hashes, joined, value_bytes
from edgeline.components.ingest.rows import BATCH_BYTES, Rows
from edgeline.components.ingest.split import Numbers, typed_column
from edgeline.errors import EdgelineError

FILES = 64
MOST_BYTES = 128 << 20  # that are sorted in memory
TIME, KEY, SPLIT = "\0time", "\0key", "\0split"  # columns beside the data's own
Mask = npt.NDArray[np.bool_]


@dataclass
class Dropped:
    """What went into no window, counted.

    Attributes:
        no_time, no_key: rows that lack it.
        same_time: rows with the time of another of their series.
        short: rows of series, or of pieces between gaps, with fewer than a window.
        short_series: series without any window.
        behind: rows behind the last window of their piece, or between two.
        across: windows whose rows are of several splits.
    """

    no_time: int = 0
    no_key: int = 0
    same_time: int = 0
    short: int = 0
    short_series: int = 0
    behind: int = 0
    across: int = 0

    def told(self, windows: Windows) -> dict[str, int]:
        """In words, with their number; what there is none of is left out."""
        by = f" and {windows.key}" if windows.key else ""
        pieces = "series or pieces between gaps" if windows.max_gap else "series"
        named = {
            f"rows without {windows.time}": self.no_time,
            f"rows without {windows.key}": self.no_key,
            f"rows with the {windows.time}{by} of an earlier row": self.same_time,
            f"rows of {pieces} with fewer than {windows.size} rows": self.short,
            f"series without a window, by {windows.key}": self.short_series if windows.key else 0,
            "rows between or behind windows": self.behind,
            "windows across splits": self.across,
        }
        return {name: count for name, count in named.items() if count}


def left_out_sentence(left_out: Mapping[str, int]) -> str:
    """What `Dropped.told` says, as a sentence."""
    counts = ", ".join(f"{count:,} {what}" for what, count in left_out.items())
    return f"windows leave out {counts}"


def no_window(placed: PlacedRows) -> EdgelineError:
    """That there is not one window, and why."""
    windows, left_out = placed.windows, placed.dropped.told(placed.windows)
    why = f" ({left_out_sentence(left_out)})" if left_out else ""
    gap = ""
    if windows.max_gap is not None:
        gap = (
            f", or a larger max_gap than {windows.max_gap:,}, which is in the unit of "
            f"{windows.time!r}: microseconds where it holds times"
        )
    return EdgelineError(
        f"The data gives no window of {windows.size} rows{why}: give a smaller size, or more rows "
        f"of each series{gap}."
    )


def schema_of(schema: pa.Schema, windows: Windows) -> pa.Schema:
    """The schema of windows of rows.

    Raises:
        EdgelineError: a column of the windows is not there, or holds lists that differ in length.
    """
    for name in windows.columns:
        place = schema.get_field_index(name)
        if place < 0:
            raise EdgelineError(
                f"windows['columns'] has {name!r}, but what is taken of the data has "
                f"{', '.join(schema.names)}: name one of them."
            )
        column = schema.field(place)
        if is_list(column.type) and not pa.types.is_fixed_size_list(column.type):
            raise EdgelineError(
                f"windows['columns'] has {name!r}, which holds lists that differ in length: "
                "windows are of numbers, text and lists of one length."
            )
        schema = schema.set(place, _window_field(column, windows.size))
    return schema


def _window_field(column: pa.Field, size: int) -> pa.Field:
    if not is_list(column.type):
        return pa.field(column.name, pa.list_(column.type, size))
    inner = shape_of(column) or (column.type.list_size,)
    flat = pa.list_(column.type.value_type, size * column.type.list_size)
    return with_shape(pa.field(column.name, flat), (size, *inner))


@dataclass
class PlacedRows:
    """Which rows can be in a window: `windows` have the names that the data has."""

    windows: Windows
    dropped: Dropped = field(default_factory=Dropped)
    key_dtype: str = ""  # as a feature, once there were rows

    def rows(self, rows: Rows, count: bool = True) -> tuple[Rows, pa.Array, pa.Array | None]:
        """Those with time and key, their times, and their keys where there is one.

        Args:
            count: whether those that are left out are counted.

        Raises:
            EdgelineError: there is no such column, or it is of another type.
        """
        time = typed_column(rows, self.windows.time, "windows['time'] names")
        if not pa.types.is_integer(time.type):
            raise EdgelineError(
                f"windows['time'] names {self.windows.time!r}, which holds {time.type}: name a "
                "column of times or whole numbers; text in ISO 8601 of CSV and JSON becomes times "
                f'with column_types={{"{self.windows.time}": "timestamp"}}.'
            )
        timed, key = _mask(time.is_valid()), None
        kept = timed
        if self.windows.key:
            key = typed_column(rows, self.windows.key, "windows['key'] names")
            self.key_dtype = "int64" if pa.types.is_integer(key.type) else "string"
            kept = kept & self._keyed(key)
        if count:
            self.dropped.no_time += int((~timed).sum())
            self.dropped.no_key += int((timed & ~kept).sum())
        if kept.all():
            return rows, time, key
        chosen = _bools(kept)
        return (
            _filtered(rows, chosen),
            time.filter(chosen),
            None if key is None else key.filter(chosen),
        )

    def _keyed(self, key: pa.Array) -> Mask:
        if pa.types.is_integer(key.type):
            return _mask(pc.fill_null(pc.not_equal(key, _int(MISSING_INT)), False))
        if pa.types.is_string(key.type) or pa.types.is_binary(key.type):
            return _mask(pc.fill_null(pc.greater(pc.binary_length(key), _int(0)), False))
        raise EdgelineError(
            f"windows['key'] names {self.windows.key!r}, which holds {key.type}: name a column of "
            "text or whole numbers."
        )


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
        columns = [*rows.typed.columns, time.cast(pa.int64()), _array(assign(rows))]
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
        batch = batch.take(_array(order)) if len(ends) > 1 else batch
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
            times = _ints(batch.column(TIME))
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
        keys = _codes(rows.column(KEY)) if self._windows.key else np.zeros(len(rows), np.int64)
        times = _ints(rows.column(TIME))
        other = np.diff(keys) != 0
        again = ~other & (np.diff(times) == 0)
        if again.any():
            self._dropped.same_time += int(again.sum())
            first = np.append(True, ~again)
            rows, keys, times = rows.filter(_bools(first)), keys[first], times[first]
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
        splits = _ints(rows.column(SPLIT))
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
            return values.take(_array(places[:, -1]))
        kind = self._out.field(column.name).type
        if not is_list(values.type):
            return pa.FixedSizeListArray.from_arrays(values.take(_array(places)), type=kind)
        width = values.type.list_size
        inner = (places.reshape(-1, 1) + values.offset) * width + np.arange(width)
        held = np.repeat(_mask(values.is_valid())[places.reshape(-1)], width)
        flat = values.values.take(_array(inner, held))
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def _sorted(reader: ipc.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    """A file's rows by series and time; those of one time as they came."""
    table = reader.read_all().combine_chunks()
    if not len(table):
        return
    (batch,) = table.to_batches()
    times = _ints(batch.column(TIME))
    by = [times]
    if KEY in batch.schema.names:
        by.append(_codes(batch.column(KEY)))
    order = np.lexsort(by)
    if (np.diff(order) != 1).any():
        batch = batch.take(_array(order))
    step = max(1, len(batch) * BATCH_BYTES // max(batch.nbytes, 1))
    for start in range(0, len(batch), step):
        yield batch.slice(start, step)


def _filtered(rows: Rows, chosen: pa.Array) -> Rows:
    before = _filtered(rows.before, chosen) if rows.before is not None else None
    return Rows(rows.typed.filter(chosen), rows.given.filter(chosen), before)


def _copied(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A few rows on their own, so that those before them are let go."""
    return batch.take(_array(np.arange(len(batch))))


def _codes(column: pa.Array) -> Numbers:
    """A number for each value, shape [rows]; none is missing."""
    coded = column.dictionary_encode().indices
    return np.frombuffer(coded.buffers()[1], np.int32, len(column)).astype(np.int64)


def _ints(column: pa.Array) -> Numbers:
    return np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column)]


# from buffers, because a conversion by Arrow would import pandas


def _array(values: npt.NDArray[np.integer], valid: Mask | None = None) -> pa.Array:
    flat = np.ascontiguousarray(values, np.int64).reshape(-1)
    bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.int64(), len(flat), [bits, pa.py_buffer(flat)])


def _bools(values: Mask) -> pa.Array:
    bits = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])


def _mask(values: pa.Array) -> Mask:
    return np.asarray(values.to_numpy(zero_copy_only=False), np.bool_)


def _int(value: int) -> pa.Scalar:
    return _array(np.array([value]))[0]
