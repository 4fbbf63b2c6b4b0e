"""What every reader of a format gives: a schema after a first look, then batches of rows."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast

import pyarrow as pa

from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BATCH_BYTES = 8 << 20


@dataclass(frozen=True)
class Rows:
    """Some rows as they are written, and as the split's hash sees them (for CSV, as text)."""

    typed: pa.RecordBatch
    given: pa.RecordBatch


class RowReader(Protocol):
    """A format. Both methods raise EdgelineError naming file, row and column at fault."""

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The one schema that holds every value of all files."""

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """The rows of one file in their order, some at a time."""


@contextlib.contextmanager
def open_unpacked(file: File) -> Iterator[BinaryIO]:
    """A file's bytes, unpacked where it is gzip (told by its content, not its name)."""
    with open(file.path, "rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(gzip.open(raw)) if packed else raw
            try:
                yield cast(BinaryIO, stream)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise EdgelineError(
                    f"{file.name} is a damaged gzip file ({error}): fetch it again."
                ) from error
