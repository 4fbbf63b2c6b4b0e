"""Parquet, streamed by row groups and brought to the few types that examples have.

Integers and booleans become int64, timestamps and dates microseconds in UTC (see `timestamps`), a
time without a zone being UTC's, times of day and durations microseconds, half-precision numbers
float, decimals double (without a fraction and of at most 18 digits int64), dictionaries their
values, lists (all of one length) fixed-size lists, a missing or empty one a list of missing values,
structs a column for each of their fields, `a.b`; float, double, string and binary stay.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.types import is_struct

from edgeline.artifacts import batches
from edgeline.artifacts.examples import is_list
from edgeline.components.ingest import timestamps
from edgeline.components.ingest.choice import ColumnChoice
from edgeline.components.ingest.rows import Rows
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BUFFER_BYTES = 1 << 20
DIGITS = 15  # that a double holds of any decimal number


@dataclass(frozen=True)
class ParquetReader:
    """Reads the Parquet files of one table.

    A column without a value (of type null, as pandas writes it) takes the type of the other files,
    integers and floats in one column are double, and a column that a file lacks is missing there.

    Attributes:
        notes: takes a sentence for each column that was unified, and of decimals that were rounded.
        choice: which columns are read.
    """

    notes: list[str] = field(default_factory=list)
    choice: ColumnChoice = field(default_factory=ColumnChoice)

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The columns of all files, in the order in which they first come."""
        found = [_schema(file, self.choice, self.notes) for file in files]
        names = list(dict.fromkeys(name for schema in found for name in schema.names))
        return pa.schema(
            _settle(pa.field(name, self._unified(name, files, found)), files) for name in names
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
            both = unified(kind, theirs)
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
        return timestamps.stored(_filled(kind))

    def _widened(self, name: str, file: File, kind: pa.DataType, both: pa.DataType) -> None:
        if _filled(kind) != kind:  # it holds no value there
            return
        self.notes.append(f"Column {name!r} is {kind} in {file.name} and was read as {both}.")

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """One file's rows, its columns in the order of `schema`."""
        before = 0
        with _parquet(file) as parquet:
            there = set(flat(parquet.schema_arrow).names)
            for batch in _stream(parquet, [name for name in schema.names if name in there]):
                columns = [
                    convert(batch.column(column.name), column, file, before)
                    if column.name in there
                    else _missing(column, len(batch))
                    for column in schema
                ]
                typed = pa.RecordBatch.from_arrays(columns, schema=schema)
                yield Rows(typed, typed)
                before += len(batch)


def _schema(file: File, choice: ColumnChoice, notes: list[str]) -> pa.Schema:
    with _parquet(file) as parquet:
        whole = parquet.schema_arrow
    out = [c.name for c in whole if is_struct(c.type) and choice.columns.get(c.name) is False]
    choice.seen.update(dict.fromkeys(out))
    found = flat(pa.schema(column for column in whole if column.name not in out))
    columns = [column for column in found if choice.reads(column.name)]
    names = [column.name for column in columns]
    for column in columns:
        if names.count(column.name) > 1:
            raise EdgelineError(f"{file.name} has two columns named {column.name!r}: rename one.")
        if (told := _rounded(column)) and told not in notes:
            notes.append(told)
    return pa.schema((column.name, _target(column, file)) for column in columns)


def flat(schema: pa.Schema) -> pa.Schema:
    """A schema with the fields of structs as columns."""
    while any(is_struct(column.type) for column in schema):
        schema = schema.empty_table().flatten().schema
    return schema


def _stream(parquet: pq.ParquetFile, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a file, by the names that `flat` gives them."""
    wanted = set(names)
    outer = [
        column.name
        for column in parquet.schema_arrow
        if not wanted.isdisjoint(flat(pa.schema([column])).names)
    ]
    for batch in batches.stream(parquet, outer):
        table = pa.Table.from_batches([batch])
        while any(is_struct(kind) for kind in table.schema.types):
            table = table.flatten()
        yield from table.select(names).combine_chunks().to_batches() if len(table) else ()


def _rounded(column: pa.Field) -> str:
    """What is said of decimals that doubles do not hold."""
    kind = column.type
    if not pa.types.is_decimal(kind) or kind.precision <= DIGITS or _target_of(kind) == pa.int64():
        return ""
    return f"Column {column.name!r} is {kind} and was read as double, which holds {DIGITS} digits."


def _target_of(decimal: pa.DataType) -> pa.DataType:
    fits = decimal.scale <= 0 and decimal.precision - decimal.scale <= 18
    return pa.int64() if fits else pa.float64()


def unified(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both; None where none does."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if pa.types.is_list(first) and pa.types.is_list(second):
        inner = unified(first.value_type, second.value_type)
        return None if inner is None else pa.list_(inner)
    numbers = {pa.int64(), pa.float32(), pa.float64()}
    return pa.float64() if {first, second} <= numbers else None


def _filled(kind: pa.DataType) -> pa.DataType:
    """A type for what has no value anywhere."""
    if is_list(kind):
        return pa.list_(_filled(kind.value_type))
    return pa.float64() if pa.types.is_null(kind) else kind


def _missing(column: pa.Field, count: int) -> pa.Array:
    if pa.types.is_fixed_size_list(column.type):  # as `convert` makes of a missing list
        return pa.array([[None] * column.type.list_size] * count, column.type)
    return pa.nulls(count, column.type)


def _several(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more files"


def _target(column: pa.Field, file: File) -> pa.DataType:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if is_list(kind):
        element = _target(pa.field(column.name, kind.value_type), file)
        if not is_list(element):
            return pa.list_(element)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pa.int64()
    if (times := timestamps.common(kind)) is not None:
        return times  # until all files are known to have times there
    if pa.types.is_decimal(kind):
        return _target_of(kind)
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_null(kind) or pa.types.is_floating(kind):
        return kind
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    raise EdgelineError(
        f"{file.name}, column {column.name!r}: has the type {column.type}, which examples do not "
        "hold: convert it to numbers, strings or lists of one length, or leave it out with "
        f"columns={{{json.dumps(column.name, ensure_ascii=False)}: false}}."
    )


def _settle(column: pa.Field, files: Sequence[File]) -> pa.Field:
    """A list's length is that of the first list there is that has a value."""
    if not is_list(column.type):
        return pa.field(column.name, column.type)
    for file in files:
        with _parquet(file) as parquet:
            if column.name not in flat(parquet.schema_arrow).names:
                continue
            for batch in _stream(parquet, [column.name]):
                if width := first_length(batch.column(0)):
                    return pa.field(column.name, pa.list_(column.type.value_type, width))
    return pa.field(column.name, pa.list_(column.type.value_type, 1))


def convert(values: pa.Array, column: pa.Field, file: File, before: int) -> pa.Array:
    """Values as a column of examples; `before` rows of the file came before them.

    Raises:
        EdgelineError: lists differ in length, or a value is of another type.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_fixed_size_list(column.type):
        width = column.type.list_size
        lengths = pc.list_value_length(values)
        empty = pc.any(pc.equal(lengths, 0)).as_py()
        wrong = pc.index(
            pc.and_(pc.not_equal(lengths, width), pc.greater(lengths, 0)), True
        ).as_py()
        if wrong >= 0:
            raise EdgelineError(
                f"{file.name}, row {before + wrong + 1}, column {column.name!r}: has "
                f"{lengths[wrong].as_py()} values, but {width} before: pad or cut it to one length."
            )
        if values.null_count or empty:  # Parquet reads no missing fixed-size list back
            values = pa.array([row or [None] * width for row in values.to_pylist()], values.type)
    try:
        if timestamps.holds(values.type):
            return timestamps.microseconds(values)
        if pa.types.is_list(values.type) and timestamps.holds(values.type.value_type):
            flat = timestamps.microseconds(values.flatten())
            return pa.FixedSizeListArray.from_arrays(flat, column.type.list_size)
        return values.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise EdgelineError(
            f"{file.name}, column {column.name!r}: a value from row {before + 1} on is not "
            f"{column.type} ({error}): convert the column."
        ) from error


def first_length(lists: pa.Array | pa.ChunkedArray) -> int:
    """The length of the first list that is not empty; 0 where all are."""
    lengths = pc.list_value_length(lists).drop_null()
    lengths = lengths.filter(pc.greater(lengths, 0))
    return int(lengths[0].as_py()) if len(lengths) else 0


@contextlib.contextmanager
def _parquet(file: File) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(file.path, buffer_size=BUFFER_BYTES) as parquet:
            yield parquet
    except (pa.ArrowInvalid, OSError) as error:
        raise EdgelineError(
            f"{file.name} is not a whole Parquet file ({str(error).splitlines()[0]}): "
            "write it again."
        ) from error
