"""Avro files, read by fastavro.

Types are those of the file's schema: boolean, int, long, float, double, bytes, fixed, string, an
enum's symbols as strings, arrays, records, and the logical types date, time, timestamp, decimal and
uuid (as text). A union with null may be missing; one of several numbers is of the widest. Times of
local-timestamp have no zone, and so are UTC's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from edgeline.components.ingest.arrow_types import unified
from edgeline.components.ingest.choice import leaving_out
from edgeline.components.ingest.rows import BATCH_BYTES
from edgeline.errors import EdgelineError
from edgeline.extras import install_hint
from edgeline.stores.storage import File

if TYPE_CHECKING:
    from fastavro import reader

BATCH_RECORDS = 4096
PLAIN: Mapping[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "fixed": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
}
LOGICAL: Mapping[str, pa.DataType] = {
    "date": pa.date32(),
    "time-millis": pa.time64("us"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("us", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "timestamp-nanos": pa.timestamp("ns", "UTC"),
    "local-timestamp-nanos": pa.timestamp("ns"),
    "local-timestamp-millis": pa.timestamp("us"),
    "local-timestamp-micros": pa.timestamp("us"),
}


class Avro:
    """Avro object container files (a `TypedFormat`)."""

    def schema(self, file: File) -> pa.Schema:
        """The columns, as the header says them."""
        with _opened(file) as records:
            return _schema(records, file)

    def stream(self, file: File, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows, a few thousand or about `BATCH_BYTES` of the file at once."""
        with _opened(file) as records, _naming_file(file):
            schema = _schema(records, file)
            schema = pa.schema(schema.field(name) for name in names)
            rows: list[Mapping[str, Any]] = []
            start = records.fo.tell()
            for record in records:
                rows.append(record)
                if len(rows) == BATCH_RECORDS or records.fo.tell() - start >= BATCH_BYTES:
                    yield _batch(rows, schema, file)
                    rows, start = [], records.fo.tell()
            if rows:
                yield _batch(rows, schema, file)


def _batch(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, file: File) -> pa.RecordBatch:
    columns = []
    for column in schema:
        values = [row[column.name] for row in rows]
        if _has_uuids(column.type, values):
            values = [value if value is None else str(value) for value in values]
        try:
            columns.append(pa.array(values, column.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise EdgelineError(
                f"{file.name}, column {column.name!r}: a value is not {column.type} "
                f"({str(error).splitlines()[0]}): {leaving_out(column.name)}."
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _has_uuids(kind: pa.DataType, values: Sequence[Any]) -> bool:
    first = next((value for value in values if value is not None), "")
    return bool(pa.types.is_string(kind)) and not isinstance(first, str)


@contextlib.contextmanager
def _opened(file: File) -> Iterator[reader]:
    try:
        import fastavro
    except ModuleNotFoundError as error:
        raise EdgelineError(f"{file.name} is Avro. {install_hint(error)}.") from error
    with open(file.path, "rb") as stream, _naming_file(file):
        yield fastavro.reader(stream)


@contextlib.contextmanager
def _naming_file(file: File) -> Iterator[None]:
    """What fastavro says of a file that it cannot read."""
    try:
        yield
    except EdgelineError:
        raise
    except (ValueError, EOFError, OSError, LookupError, TypeError, ArithmeticError) as error:
        raise EdgelineError(
            f"{file.name} is not a whole Avro file, or has what cannot be read "
            f"({type(error).__name__}: {error}): write it again."
        ) from error


def _schema(records: reader, file: File) -> pa.Schema:
    written = records.writer_schema
    if not isinstance(written, Mapping) or written.get("type") != "record":
        raise EdgelineError(f"{file.name} holds no records, but {written}: write records.")
    return _Types().record(written)


class _Types:
    """Arrow's types for Avro's, which may name one that came before."""

    def __init__(self) -> None:
        self._named: dict[str, pa.DataType] = {}

    def record(self, declared: Mapping[str, Any]) -> pa.Schema:
        return pa.schema((each["name"], self.of(each["type"])) for each in declared["fields"])

    def of(self, declared: Any) -> pa.DataType:
        """The type of a declaration; a record within itself is a union of nothing."""
        if isinstance(declared, str):
            return PLAIN.get(declared) or self._named.get(declared, _NONE)
        if isinstance(declared, Sequence):
            inside = [self.of(each) for each in declared]
            found = reduce(lambda a, b: a and unified(a, b), inside, pa.null())
            return found or pa.sparse_union([pa.field(str(each), each) for each in inside])
        found = self._of(declared)
        if "name" in declared:
            self._named[declared["name"]] = found
        return found

    def _of(self, declared: Mapping[str, Any]) -> pa.DataType:
        kind, logical = declared["type"], declared.get("logicalType", "")
        if logical == "decimal":
            digits = declared["precision"]
            wide = pa.decimal128 if digits <= 38 else pa.decimal256
            return wide(digits, declared.get("scale", 0)) if digits <= 76 else _NONE
        if logical == "uuid":
            return pa.string()
        if logical in LOGICAL:
            return LOGICAL[logical]
        if kind == "array":
            return pa.list_(self.of(declared["items"]))
        if kind == "map":
            return pa.map_(pa.string(), self.of(declared["values"]))
        if kind == "record":
            return pa.struct(list(self.record(declared)))
        return self.of(kind)


_NONE = pa.sparse_union([])
