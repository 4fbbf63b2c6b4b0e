"""Parquet, streamed by row groups and brought to the few types that examples have.

Integers and booleans become int64, half-precision numbers float, dictionaries their values,
lists (all of one length) fixed-size lists, a missing one a list of missing values; float,
double, string and binary stay.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeline.artifacts import batches
from edgeline.artifacts.examples import is_list
from edgeline.components.ingest.rows import Rows
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class ParquetReader:
    """Reads Parquet files that agree in their columns."""

    def schema(self, files: Sequence[File]) -> pa.Schema:
        """The first file's columns, with which all others must agree."""
        first, *others = [_schema(file) for file in files]
        for file, schema in zip(files[1:], others, strict=True):
            for name in dict.fromkeys([*first.names, *schema.names]):
                ours, theirs = (_type_of(name, found) for found in (first, schema))
                if ours != theirs:
                    raise EdgelineError(
                        f"{file.name}, column {name!r}: is {theirs}, but {ours} in "
                        f"{files[0].name}: give files that agree."
                    )
        return pa.schema(_settle(column, files) for column in first)

    def batches(self, file: File, schema: pa.Schema) -> Iterator[Rows]:
        """One file's rows, its columns in the order of `schema`."""
        before = 0
        with _parquet(file) as parquet:
            for batch in batches.stream(parquet, schema.names):
                columns = [
                    convert(batch.column(column.name), column, file, before) for column in schema
                ]
                typed = pa.RecordBatch.from_arrays(columns, schema=schema)
                yield Rows(typed, typed)
                before += len(batch)


def _schema(file: File) -> pa.Schema:
    with _parquet(file) as parquet:
        found = parquet.schema_arrow
    for name in found.names:
        if found.names.count(name) > 1:
            raise EdgelineError(f"{file.name} has two columns named {name!r}: rename one.")
    return pa.schema((column.name, _target(column, file)) for column in found)


def _type_of(name: str, schema: pa.Schema) -> str:
    return str(schema.field(name).type) if name in schema.names else "absent"


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
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_null(kind):
        return pa.float64()
    if pa.types.is_floating(kind):
        return kind
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.binary()
    raise EdgelineError(
        f"{file.name}, column {column.name!r}: has the type {column.type}, which examples do not "
        "hold: convert it to numbers, strings or lists of one length."
    )


def _settle(column: pa.Field, files: Sequence[File]) -> pa.Field:
    """A list's length is that of the first list there is."""
    if not is_list(column.type):
        return pa.field(column.name, column.type)
    for file in files:
        with _parquet(file) as parquet:
            for batch in batches.stream(parquet, [column.name]):
                lengths = pc.list_value_length(batch.column(0)).drop_null()
                if len(lengths):
                    width = lengths[0].as_py() or 1
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
        wrong = pc.index(pc.not_equal(lengths, width), True).as_py()
        if wrong >= 0:
            raise EdgelineError(
                f"{file.name}, row {before + wrong + 1}, column {column.name!r}: has "
                f"{lengths[wrong].as_py()} values, but {width} before: pad or cut it to one length."
            )
        if values.null_count:  # Parquet reads no missing fixed-size list back
            values = pa.array([row or [None] * width for row in values.to_pylist()], values.type)
    try:
        return values.cast(column.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise EdgelineError(
            f"{file.name}, column {column.name!r}: a value from row {before + 1} on is not "
            f"{column.type} ({error}): convert the column."
        ) from error


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
