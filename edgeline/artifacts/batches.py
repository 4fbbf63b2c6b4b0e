"""How much is held at once: rows of Parquet, and rows in groups, bounded by number and by bytes.

A number of rows alone is not a bound: 8,192 rows of a column or two are 100 kB, and as many images
of 224 x 224 x 3 are 5 GB. Both bounds are here, so that every step keeps to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 8192
BATCH_BYTES = 32 << 20
# of a value as Arrow reads it, by Parquet's physical type
VALUE_BYTES = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}
LARGE = (pa.types.is_large_string, pa.types.is_large_binary)


def stream(
    file: pq.ParquetFile,
    columns: Sequence[str] | None = None,
    most_rows: int = BATCH_ROWS,
    most_bytes: int = BATCH_BYTES,
    row_groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """A Parquet file's rows in their order, at most `most_rows` and about `most_bytes` at once.

    A row that is larger than `most_bytes` comes alone.
    """
    rows = rows_within(file.metadata, columns, most_rows, most_bytes)
    yield from file.iter_batches(rows, row_groups=row_groups, columns=columns)


def rows_within(
    metadata: pq.FileMetaData, columns: Sequence[str] | None, most_rows: int, most_bytes: int
) -> int:
    """How many rows of a Parquet file keep to both bounds, at least 1, as its footer tells.

    The size of a row is the mean of the row group in which it is largest. Text and bytes count as
    they are encoded, so what repeats in a dictionary counts little.
    """
    largest = 1.0
    for place in range(metadata.num_row_groups):
        group = metadata.row_group(place)
        chunks = map(group.column, range(group.num_columns))
        size = sum(
            chunk.num_values * VALUE_BYTES[chunk.physical_type]
            if chunk.physical_type in VALUE_BYTES
            else chunk.total_uncompressed_size
            for chunk in chunks
            if columns is None or _is_of(chunk.path_in_schema, columns)
        )
        largest = max(largest, size / max(group.num_rows, 1))
    return max(1, min(most_rows, int(most_bytes // largest)))


class Group:
    """Gathers rows until they are `most_rows` or, with the last of them, have `most_bytes`.

    So where a group ends depends on the rows and their order alone, and not on the batches in
    which they come.
    """

    def __init__(self, most_rows: int, most_bytes: int = BATCH_BYTES) -> None:
        self.rows = self.size = 0
        self._most_rows, self._most_bytes = most_rows, most_bytes
        self._batches: list[pa.RecordBatch] = []

    def take(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Take the first rows of a batch in, as many as still belong to it, and give the rest."""
        ends = self.size + np.cumsum(row_bytes(batch.slice(0, self._most_rows - self.rows)))
        fitting = min(int(np.searchsorted(ends, self._most_bytes)) + 1, len(ends))
        if fitting:
            self._batches.append(batch.slice(0, fitting))
            self.rows, self.size = self.rows + fitting, int(ends[fitting - 1])
        return batch.slice(fitting)

    @property
    def full(self) -> bool:
        return self.rows >= self._most_rows or self.size >= self._most_bytes

    def release(self) -> list[pa.RecordBatch]:
        """The rows, in their order; the group is empty then."""
        found, self._batches = self._batches, []
        self.rows = self.size = 0
        return found


def row_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """The bytes of each row's values, int64 [rows]; a dictionary's values count as their index."""
    total = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        total += _value_bytes(column)
    return total


def _value_bytes(column: pa.Array) -> int | npt.NDArray[np.int64]:
    """Bytes of each value, or of every one."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.index_type
    if pa.types.is_fixed_size_list(kind):
        width = kind.list_size
        values = _value_bytes(column.values.slice(column.offset * width, len(column) * width))
        if isinstance(values, int):
            return values * int(width)
        return np.asarray(values.reshape(-1, width).sum(1), np.int64)
    if pa.types.is_nested(kind):
        ends = _offsets(column)
        values = _value_bytes(column.values.slice(ends[0], ends[-1] - ends[0]))
        if isinstance(values, int):
            return np.asarray(np.diff(ends) * values, np.int64)
        before = np.concatenate([[0], np.cumsum(values)])
        return np.asarray(np.diff(before[ends - ends[0]]), np.int64)
    if _is_text(kind):
        return np.diff(_offsets(column))
    return 0 if pa.types.is_null(kind) else int(kind.bit_width // 8)


def _offsets(column: pa.Array) -> npt.NDArray[np.int64]:
    """Where values of no fixed size begin, and the last ends; int64 [values + 1]."""
    kind = column.type
    wide = any(check(kind) for check in (pa.types.is_large_list, *LARGE))
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        return np.zeros(len(column) + 1, np.int64)
    # from the buffer, because functions of Arrow that take a scalar import pandas
    offsets = np.frombuffer(buffer, np.int64 if wide else np.int32)
    return offsets[column.offset : column.offset + len(column) + 1].astype(np.int64)


def _is_text(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_binary, *LARGE))


def _is_of(path: str, columns: Sequence[str]) -> bool:
    return any(path == column or path.startswith(f"{column}.") for column in columns)
