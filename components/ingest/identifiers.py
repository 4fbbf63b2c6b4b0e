"""Columns that have another value in each row, as an id or a row's number has."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

FEWEST = 100  # rows with which it is not chance
ENOUGH = 20_000  # rows after which a column is believed to go on like that
MOST_BYTES = 16 << 20  # of a column that is looked at: longer text is not an id


class Identifiers:
    """Looks for text that never repeats, and for whole numbers that count the rows.

    Of other whole numbers, times too may never repeat. A column is held until one of its values
    comes again, which in most is in the first rows, and for at most 20,000 rows.
    """

    def __init__(self, schema: pa.Schema) -> None:
        kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)
        self._held: dict[str, list[pa.Array]] = {
            column.name: [] for column in schema if any(holds(column.type) for holds in kinds)
        }
        self._rows = 0

    def update(self, rows: pa.RecordBatch) -> None:
        """Take in some rows, of the schema."""
        if self._rows >= ENOUGH or not self._held:
            return
        rows = rows.slice(0, ENOUGH - self._rows)
        self._rows += len(rows)
        for name in list(self._held):
            held = pa.concat_arrays([*self._held[name], rows.column(name)])
            repeats = held.null_count or pc.count_distinct(held).as_py() < len(held)
            if repeats or held.nbytes > MOST_BYTES:
                del self._held[name]
            else:
                self._held[name] = [held]

    def notes(self) -> Iterator[str]:
        """A sentence on each such column."""
        if self._rows < FEWEST:
            return
        for name, (values,) in self._held.items():
            if pa.types.is_integer(values.type) and not _counts(values):
                continue
            yield (
                f"column {name!r} has another value in each row, as an id has, which tells nothing "
                f'of new rows: leave it out with columns={{"{name}": false}} if it is one'
            )


def _counts(values: pa.Array) -> bool:
    """Whether whole numbers are those of the rows, or of a table of which these are half."""
    ends = pc.min_max(values)
    return bool(ends["max"].as_py() - ends["min"].as_py() < 2 * len(values))
