"""Arrow's own files and streams (IPC), which Feather and polars write too.

A file is mapped, not read, so what is not compressed takes no memory; a compressed batch is
unpacked as a whole, as it was written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
from pyarrow import ipc

from edgeline.components.ingest.rows import pieces
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

MAGIC = b"ARROW1"  # of a file; a stream has none


class ArrowIpc:
    """Files and streams of record batches (a `TypedFormat`)."""

    def schema(self, file: File) -> pa.Schema:
        """The columns, as the beginning or the footer says them."""
        with _opened(file) as (schema, _):
            return schema

    def stream(self, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows, in pieces of the batches that were written."""
        with _opened(file) as (_, found):
            for batch in found:
                yield from pieces(batch.select(names))


@contextlib.contextmanager
def _opened(file: File) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    try:
        with pa.memory_map(str(file.path)) as source:
            if source.read(len(MAGIC)) == MAGIC:
                with ipc.open_file(source) as reader:
                    yield reader.schema, map(reader.get_batch, range(reader.num_record_batches))
            else:
                source.seek(0)
                with ipc.open_stream(source) as reader:
                    yield reader.schema, iter(reader)
    except (pa.ArrowInvalid, OSError) as error:
        raise EdgelineError(
            f"{file.name} is not a whole Arrow file or stream ({str(error).splitlines()[0]}): "
            "write it again (of Feather, version 2)."
        ) from error
