"""Rows of a query to a SQLite file.

A value of SQLite has a type, a column has none: a first pass asks for those of each column. Whole
numbers are int64, with fractions among them double, text and bytes stay; a column with both numbers
and text is refused. A column without a value is double.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

from edgeline.components.ingest.queries import asked
from edgeline.components.ingest.spool import spool
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

BATCH_ROWS = 4096
TYPES = {
    frozenset[str](): pa.float64(),
    frozenset({"integer"}): pa.int64(),
    frozenset({"real"}): pa.float64(),
    frozenset({"integer", "real"}): pa.float64(),
    frozenset({"text"}): pa.string(),
    frozenset({"blob"}): pa.binary(),
}


def of_file(file: File, query: str, path: Path, notes: list[str]) -> File:
    """The rows of a SQLite file's answer, kept at a path; nothing is written to the file.

    Raises:
        EdgelineError: there is no query, it cannot be answered, or a column has values that no one
            type holds.
    """
    query = asked(query, file.name, notes)
    log = file.path.with_name(f"{file.path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise EdgelineError(
            f"{file.name} has changes in {log.name} that are not in the file: close what writes to "
            "it, or run PRAGMA wal_checkpoint(TRUNCATE)."
        )
    place = f"file:{quote(str(file.path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(place, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            schema = _schema(connection, query, file)
            rows = _batches(connection.execute(query), schema, file)
            return spool(pa.RecordBatchReader.from_batches(schema, rows), path, file.name)
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise EdgelineError(
            f"{file.name} did not answer the query ({error}): fix the query or the file."
        ) from error


def _schema(connection: sqlite3.Connection, query: str, file: File) -> pa.Schema:
    names = [column[0] for column in connection.execute(query).description or ()]
    for name in names:
        if names.count(name) > 1:
            raise EdgelineError(
                f"The query of {file.name} has two columns named {name!r}: name one with AS."
            )
    if not names:
        raise EdgelineError(f"The query of {file.name} gives no rows: write a SELECT.")
    columns = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in names]
    told = ", ".join(f"group_concat(DISTINCT typeof({column}))" for column in columns)
    found = connection.execute(f"SELECT {told} FROM ({query}\n)").fetchone()
    return pa.schema(
        (name, _type(name, frozenset((types or "").split(",")) - {"null", ""}, file))
        for name, types in zip(names, found, strict=True)
    )


def _type(name: str, types: frozenset[str], file: File) -> pa.DataType:
    if types not in TYPES:
        raise EdgelineError(
            f"{file.name}, column {name!r}: holds {' and '.join(sorted(types))}: make one type of "
            f'them in the query, for example CAST("{name}" AS TEXT) AS "{name}".'
        )
    return TYPES[types]


def _batches(cursor: sqlite3.Cursor, schema: pa.Schema, file: File) -> Iterator[pa.RecordBatch]:
    before = 0
    while rows := cursor.fetchmany(BATCH_ROWS):
        columns = [
            _column(values, column, file, before)
            for values, column in zip(zip(*rows, strict=True), schema, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
        before += len(rows)


def _column(values: tuple[object, ...], column: pa.Field, file: File, before: int) -> pa.Array:
    try:
        return pa.array(values, column.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise EdgelineError(
            f"{file.name}, column {column.name!r}, from row {before + 1} on: {error}: make one "
            "type of its values in the query."
        ) from error
