"""Columns that a table has in its folders (`partition_folders.py`), beside those of its files.

Values are of the type that column_types declares, else int64 where all of them are whole numbers
without leading zeros, else strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from edgeline.components.ingest.csv_cells import TYPES, Cells, check_types
from edgeline.components.ingest.partition_folders import Values, values_above
from edgeline.components.ingest.rows import RowReader, Rows
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File, LocatedFile

_WHOLE = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)


def folder_columns(sources: Sequence[LocatedFile]) -> set[str]:
    """The columns that some file's folders name."""
    return {name for source in sources for name in values_above(source)}


def partitions(sources: Sequence[LocatedFile], files: Sequence[File]) -> dict[File, Values]:
    """The columns that each file's folders name; empty where none has any.

    Raises:
        EdgelineError: the files' folders do not name the same columns, or one names one twice.
    """
    found: dict[File, Values] = {
        file: values_above(source) for source, file in zip(sources, files, strict=True)
    }
    first = files[0]
    for file, values in found.items():
        if list(values) != list(found[first]):
            raise EdgelineError(
                f"{file.name} lies in folders that name {_named(values)}, but {first.name} in ones "
                f"that name {_named(found[first])}: give files of one table."
            )
    return found if found[first] else {}


@dataclass(frozen=True)
class PartitionReader:
    """Adds to what another reader reads the columns of the folders, after the file's own.

    Args:
        reader: the other.
        values: of each file's folders.
        types: column to one of `csv_cells.TYPES`, instead of looking.
    """

    reader: RowReader
    values: Mapping[File, Values]
    types: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self.types)

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The other's, with the folders' columns."""
        schema = self.reader.schema(files)
        if not schema.names:
            raise EdgelineError(
                f"columns leaves out all that {files[0].name} has beside its folders: take one."
            )
        for name in self.values[files[0]]:
            if name in schema.names:
                raise EdgelineError(
                    f"Column {name!r} is in the folders of {files[0].name} and in the file: "
                    "rename one of the two."
                )
            given = [self.values[file][name] for file in files]
            kind = _type_of([each for each in given if each is not None])
            if name in self.types:
                kind = TYPES[self.types[name]]
                for file in files:
                    self._typed(pa.array([self.values[file][name]], pa.string()), name, file)
            schema = schema.append(pa.field(name, kind))
        return schema

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """The other's rows; the split's hash sees the folders' columns as they are written."""
        values = self.values[file]
        own = pa.schema([column for column in schema if column.name not in values])
        added = [schema.field(name) for name in values]
        for rows in self.reader.batches(file, own):
            count = len(rows.typed)
            typed, given = rows.typed, rows.given
            for column in added:
                text = values[column.name]
                as_text = pa.repeat(pa.scalar(text, pa.string()), count)
                typed = typed.append_column(
                    column,
                    self._typed(as_text, column.name, file)
                    if column.name in self.types
                    else as_text.cast(column.type),
                )
                given = given.append_column(column.name, as_text)
            yield Rows(typed, given)

    def _typed(self, text: pa.Array, name: str, file: File) -> pa.Array:
        try:
            return Cells().read(text, self.types[name])
        except pa.ArrowInvalid as error:
            raise EdgelineError(
                f"{file.name}: its folder says {name}={text[0].as_py()}, which is not "
                f"{self.types[name]}: declare another type in column_types."
            ) from error


def _type_of(values: Sequence[str]) -> pa.DataType:
    whole = bool(values) and all(_WHOLE.fullmatch(value) for value in values)
    fit = whole and all(-(2**63) <= int(value) < 2**63 for value in values)
    return pa.int64() if fit else pa.string()


def _named(values: Values) -> str:
    return ", ".join(map(repr, values)) or "no column"
