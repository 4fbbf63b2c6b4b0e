"""A reader that leaves out and renames columns of what another reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from edgeline.components.ingest.choice import ColumnChoice
from edgeline.components.ingest.rows import RowReader, Rows
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File


@dataclass(frozen=True)
class ColumnReader:
    """Leaves out and renames columns of what another reader reads.

    The split's hash of whole rows is of what is taken, so rows that are equal then stay together;
    a column that determines the split is found in what was read, taken or not.
    """

    reader: RowReader
    choice: ColumnChoice
    inner: list[pa.Schema] = field(default_factory=list)  # the other's, after `schema`

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The other's, without what is left out, under the new names."""
        schema = self.reader.schema(files)
        names = dict.fromkeys([*self.choice.seen, *schema.names])
        choice = self.choice
        for parameter, given in (
            ("columns", choice.columns),
            ("rename", choice.rename),
            ("lengths", choice.lengths),
        ):
            if unknown := [name for name in given if name not in names]:
                raise EdgelineError(
                    f"{parameter} names a column {unknown[0]!r}, but the data has "
                    f"{', '.join(names)}."
                )
        for name in self.choice.rename:
            if not self.choice.keeps(name):
                raise EdgelineError(
                    f"rename names the column {name!r}, which columns leaves out: remove it from "
                    "one of the two."
                )
        for name in choice.lengths:
            if choice.keeps(name) and not pa.types.is_list(schema.field(name).type):
                raise EdgelineError(
                    f"lengths names the column {name!r}, which holds {schema.field(name).type} and "
                    "no lists: remove it there."
                )
        kept = [column for column in schema if self.choice.keeps(column.name)]
        if not kept:
            raise EdgelineError(f"columns leaves out all of {', '.join(names)}: take one.")
        renamed = [column.with_name(self._name(column.name)) for column in kept]
        for name in self.choice.rename:
            if sum(column.name == self._name(name) for column in renamed) > 1:
                raise EdgelineError(
                    f"rename calls {name!r} as another column is called, {self._name(name)!r}: "
                    "rename that, too, or leave it out with columns."
                )
        self.inner.append(schema)
        return pa.schema(renamed)

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """The other's rows; the split's hash sees the data's own names."""
        inner = self.inner[-1]
        kept = [name for name in inner.names if self.choice.keeps(name)]
        for rows in self.reader.batches(file, inner):
            columns = [rows.typed.column(name) for name in kept]
            typed = pa.RecordBatch.from_arrays(columns, schema=schema)
            yield Rows(typed, rows.given.select(kept), rows)

    def _name(self, name: str) -> str:
        return self.choice.rename.get(name, name)
