"""Rows that come once, such as a query's, kept as a file beside the output to be read as others.

So a first pass can settle types and lengths, the rows have a digest, and memory does not grow with
them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

from edgeline.components.ingest.rows import pieces
from edgeline.stores.storage import PIECE, File


def spool(batches: pa.RecordBatchReader, path: Path, name: str) -> File:
    """Write all rows as an Arrow file.

    Args:
        batches: the rows; a type of an extension is stored as what it is kept in.
        path: the file to write.
        name: what the rows come from, as it may be shown.
    """
    schema = pa.schema(_plain(column) for column in batches.schema)
    options = ipc.IpcWriteOptions(compression="zstd")
    with ipc.new_file(str(path), schema, options=options) as writer:
        for batch in batches:
            for piece in pieces(batch):
                columns = [_stored(column) for column in piece.columns]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    digest, size = hashlib.sha256(), 0
    for part in _read(path):
        digest.update(part)
        size += len(part)
    return File(path, name, digest.hexdigest(), size)


def _plain(column: pa.Field) -> pa.Field:
    kind = column.type
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return pa.field(column.name, kind)


def _stored(values: pa.Array) -> pa.Array:
    while isinstance(values, pa.ExtensionArray):
        values = values.storage
    return values


def _read(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as stream:
        while piece := stream.read(PIECE):
            yield piece
