"""A reader that takes a share of the rows that another reads, the same ones each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from edgeline.components.ingest.rows import RowReader, Rows
from edgeline.components.ingest.split import key_hashes
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

# The split goes by a hash's first bits, so a sample by its last ones is of all splits alike.
BITS = 32


@dataclass(frozen=True)
class SampledReader:
    """Takes about a share of the rows, decided by each row alone, or by a column's value.

    Attributes:
        share: above 0, at most 1.
        key: rows with one value of it are taken or left out together; empty: rows that are equal.
    """

    reader: RowReader
    share: float
    key: str = ""

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The other's: a sample has the types of all rows."""
        return self.reader.schema(files)

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """The rows that are taken, in their order."""
        most = np.uint64(int(self.share * 2**BITS))
        for rows in self.reader.batches(file, schema):
            found = key_hashes(rows, self.key) if self.key else rows.hashes
            kept = (found & np.uint64(2**BITS - 1)) < most
            if kept.any():
                yield _only(rows, kept)


def check_sample(share: float, has_windows: bool, key: str) -> None:
    """Refuse a share that is none, or one that would tear series apart.

    Raises:
        EdgelineError: says what to give.
    """
    number = isinstance(share, (int, float)) and not isinstance(share, bool)
    if not (number and 0 < share <= 1):
        raise EdgelineError(f"sample is {share!r}: give a share of the rows above 0, at most 1.")
    if share < 1 and has_windows and not key:
        raise EdgelineError(
            "sample takes whole series, but windows has no key that tells them apart: give it a "
            "key, or no sample."
        )


def _only(rows: Rows, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Rows:
    bits = np.packbits(kept, bitorder="little")
    # from a buffer, because a conversion by Arrow would import pandas
    chosen = pa.Array.from_buffers(pa.bool_(), len(kept), [None, pa.py_buffer(bits)])
    before = _only(rows.before, kept) if rows.before else None
    given = rows.given.filter(chosen)
    return Rows(given if rows.typed is rows.given else rows.typed.filter(chosen), given, before)
