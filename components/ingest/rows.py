"""What every reader of a format gives: a schema after a first look, then batches of rows."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from edgeline.components.ingest.row_hash import hashes, row_bytes
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BATCH_BYTES = 8 << 20


@dataclass(frozen=True)
class Rows:
    """Some rows as they are written, and as the split's hash sees them (for CSV, as text).

    Attributes:
        before: the rows before columns were left out and renamed; None where none were.
    """

    typed: pa.RecordBatch
    given: pa.RecordBatch
    before: Rows | None = None

    @property
    def whole(self) -> Rows:
        """The rows with all columns that were read, under the names that the data has."""
        return self.before or self

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """The hash of each row, shape [rows]; equal rows have an equal one."""
        return hashes(row_bytes(self.given))


class RowReader(Protocol):
    """A format. Both methods raise EdgelineError naming file, row and column at fault."""

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The one schema that holds every value of all files."""

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """The rows of one file in their order, some at a time."""


def pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch that others have made, in slices of about `BATCH_BYTES`."""
    step = max(1, len(batch) * BATCH_BYTES // max(batch.nbytes, 1))
    for start in range(0, len(batch), step):
        yield batch.slice(start, step)


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
