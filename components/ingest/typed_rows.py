"""Rows of formats whose files say the types of their columns, such as Parquet, Arrow and Avro.

Parts of one table need not agree: a column without a value (of type null, as pandas writes it)
takes the type of the other files, integers and floats in one column are double, and a column that a
file lacks is missing there. What types become is in `arrow_types`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
from pyarrow.types import is_struct

from edgeline.artifacts.features import is_list
from edgeline.components.ingest import arrow_types, timestamps
from edgeline.components.ingest.arrow_types import flat, flat_table
from edgeline.components.ingest.choice import ColumnChoice
from edgeline.components.ingest.rows import Rows
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File


class TypedFormat(Protocol):
    """How files of a format are read. Both raise EdgelineError where a file is none of it."""

    def schema(self, file: File) -> pa.Schema:
        """The columns of a file."""

    def stream(self, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of a file with the columns of some names, a bounded number of bytes at once."""


@dataclass(frozen=True)
class TypedReader:
    """Reads the files of one table.

    Attributes:
        format: how a file is read.
        notes: takes a sentence for each column that was unified, of decimals that were rounded and
            of times that were cut.
        choice: which columns are read.
        cut: columns of which it was said that times were cut.
    """

    format: TypedFormat
    notes: list[str] = field(default_factory=list)
    choice: ColumnChoice = field(default_factory=ColumnChoice)
    cut: set[str] = field(default_factory=set)

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The columns of all files, in the order in which they first come."""
        found = [self._chosen(file) for file in files]
        names = list(dict.fromkeys(name for schema in found for name in schema.names))
        return pa.schema(
            self._settled(name, self._unified(name, files, found), files) for name in names
        )

    def _unified(
        self, name: str, files: Sequence[File], schemas: Sequence[pa.Schema]
    ) -> pa.DataType:
        kind, first = pa.null(), files[0]
        lacking = [file.name for file, s in zip(files, schemas, strict=True) if name not in s.names]
        if lacking:
            self.notes.append(f"Column {name!r} is missing in all rows of {_several(lacking)}.")
        for file, schema in zip(files, schemas, strict=True):
            if name not in schema.names:
                continue
            theirs = schema.field(name).type
            both = arrow_types.unified(kind, theirs)
            if both is None:
                raise EdgelineError(
                    f"{file.name}, column {name!r}: is {theirs}, but {kind} in {first.name}: give "
                    "files that agree."
                )
            if both != kind:
                self._widened(name, first, kind, both)
                first = file
            if both != theirs:
                self._widened(name, file, theirs, both)
            kind = both
        return timestamps.stored(arrow_types.filled(kind))

    def _widened(self, name: str, file: File, kind: pa.DataType, both: pa.DataType) -> None:
        if arrow_types.filled(kind) != kind:  # it holds no value there
            return
        self.notes.append(f"Column {name!r} is {kind} in {file.name} and was read as {both}.")

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """One file's rows, its columns in the order of `schema`."""
        before = 0
        there = set(flat(self.format.schema(file)).names)
        for batch in self._stream(file, [name for name in schema.names if name in there]):
            for name in batch.schema.names:
                self._note_cut(name, batch.column(name), file, before)
            columns = [
                arrow_types.convert(batch.column(column.name), column, file, before)
                if column.name in there
                else arrow_types.missing(column, len(batch))
                for column in schema
            ]
            typed = pa.RecordBatch.from_arrays(columns, schema=schema)
            yield Rows(typed, typed)
            before += len(batch)

    def _note_cut(self, name: str, values: pa.Array, file: File, before: int) -> None:
        """Say once of a column that digits beyond the microsecond were cut off."""
        place = -1 if name in self.cut else timestamps.first_cut(values)
        if place >= 0:
            self.cut.add(name)
            self.notes.append(
                f"Column {name!r} has times with nanoseconds, the first in {file.name}, row "
                f"{before + place + 1}, which were cut to microseconds."
            )

    def _chosen(self, file: File) -> pa.Schema:
        """The columns of one file that are read, with their types in examples."""
        whole = self.format.schema(file)
        taken = self.choice.columns
        out = [c.name for c in whole if is_struct(c.type) and taken.get(c.name) is False]
        self.choice.seen.update(dict.fromkeys(out))
        whole = pa.schema(column for column in whole if column.name not in out)
        found = flat(whole)
        columns = [column for column in found if self.choice.reads(column.name)]
        names = [column.name for column in columns]
        for column in columns:
            if names.count(column.name) > 1:
                raise EdgelineError(
                    f"{file.name} has two columns named {column.name!r}: rename one."
                )
            if (told := arrow_types.rounded(column)) and told not in self.notes:
                self.notes.append(told)
        for column in whole:
            told = f"Column {column.name!r} was left out: it is a struct without fields."
            if not flat(pa.schema([column])).names and told not in self.notes:
                self.notes.append(told)
        for column in arrow_types.fields(whole):
            told = arrow_types.as_stored(column) if column.name in names else ""
            if told and told not in self.notes:
                self.notes.append(told)
        return pa.schema((column.name, arrow_types.target(column, file)) for column in columns)

    def _settled(self, name: str, kind: pa.DataType, files: Sequence[File]) -> pa.Field:
        """A list's length is that of the first list there is that has a value."""
        if not is_list(kind):
            return pa.field(name, kind)
        width = 1 if name in self.choice.lengths else self._first_length(name, files)
        return arrow_types.list_field(name, kind.value_type, width, self.choice)

    def _first_length(self, name: str, files: Sequence[File]) -> int:
        for file in files:
            if name not in flat(self.format.schema(file)).names:
                continue
            for batch in self._stream(file, [name]):
                if width := arrow_types.first_length(batch.column(0)):
                    return width
        return 1

    def _stream(self, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of a file, by the names that `flat` gives them."""
        wanted = set(names)
        outer = [
            column.name
            for column in self.format.schema(file)
            if not wanted.isdisjoint(flat(pa.schema([column])).names)
        ]
        for batch in self.format.stream(file, outer):
            table = flat_table(pa.Table.from_batches([batch]))
            yield from table.select(names).combine_chunks().to_batches() if len(table) else ()


def _several(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more files"
