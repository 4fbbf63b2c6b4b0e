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


class Parquet:
    """Parquet files (a `TypedFormat`)."""

    def schema(self, file: File) -> pa.Schema:
        """The columns, as the footer says them."""
        with _opened(file) as parquet:
            return parquet.schema_arrow

    def stream(self, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows, as `batches.stream` bounds them."""
        with _opened(file) as parquet:
            yield from batches.stream(parquet, names)


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
