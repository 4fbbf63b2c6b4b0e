"""Parquet, streamed by row groups."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from edgeline.artifacts import batches
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BUFFER_BYTES = 1 << 20
MISSING_LIST = "Expected all lists to be of size"  # of what Arrow and polars write themselves


class Parquet:
    """Parquet files (a `TypedFormat`)."""

    def schema(self, file: File) -> pa.Schema:
        """The columns, as the footer says them."""
        with _opened(file) as parquet:
            return parquet.schema_arrow

    def stream(self, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows, as `batches.stream` bounds them."""
        with _opened(file) as parquet:
            try:
                yield from batches.stream(parquet, names)
            except pa.ArrowInvalid as error:
                if MISSING_LIST not in str(error):
                    raise
                raise EdgelineError(
                    f"{file.name} lacks a list of fixed size in a row, which Parquet keeps and "
                    f"Arrow does not read: write {_fixed_size(parquet)} as lists of any size, or "
                    "leave it out with columns."
                ) from error


@contextlib.contextmanager
def _opened(file: File) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(file.path, buffer_size=BUFFER_BYTES) as parquet:
            yield parquet
    except (pa.ArrowInvalid, OSError) as error:
        raise EdgelineError(
            f"{file.name} is not a whole Parquet file ({str(error).splitlines()[0]}): "
            "write it again."
        ) from error


def _fixed_size(parquet: pq.ParquetFile) -> str:
    """The columns whose lists have a fixed size."""
    lists = pa.types.is_fixed_size_list
    return ", ".join(repr(each.name) for each in parquet.schema_arrow if lists(each.type))
