"""Rows of a query to a PostgreSQL server, by ADBC.

The types are those that ADBC gives; numeric is read as double, which is said.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from edgeline.components.ingest.rows import BATCH_BYTES
from edgeline.components.ingest.spool import spool
from edgeline.errors import EdgelineError, UsageError
from edgeline.extras import install_hint
from edgeline.stores.storage import File
from edgeline.stores.tables import TableLocation

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

UNORDERED = (
    "The query has no ORDER BY, so its rows come in any order: the split of a row is the same in "
    "each, but what is trained may differ from run to run."
)
_QUOTED = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.S
)
_INNERMOST = re.compile(r"\([^()]*\)")
_ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)


def of_server(table: TableLocation, query: str, path: Path, notes: list[str]) -> File:
    """The rows of a PostgreSQL server's answer; the session may only read.

    Raises:
        EdgelineError: there is no query, no connection, or the server refuses.
    """
    query = asked(query, table.name, notes)
    with _naming_server(table.name):
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(table.place, autocommit=True) as connection:
            with connection.cursor() as first:
                first.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            size = {"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)}
            return _kept(connection, query, size, path, table.name, notes)


def is_ordered(query: str) -> bool:
    """Whether a query, not one within it, says the order of its rows."""
    plain = _QUOTED.sub(" ", query)
    while (outer := _INNERMOST.sub(" ", plain)) != plain:
        plain = outer
    return bool(_ORDERED.search(plain))


def asked(query: str, name: str, notes: list[str]) -> str:
    """A query without semicolons and comments behind it; where it says no order, that is noted.

    Raises:
        UsageError: there is none.
    """
    if not query.strip():
        raise UsageError(
            f'{name} is a database: say which rows with query, for example query="SELECT * FROM '
            'trips ORDER BY id".'
        )
    if not is_ordered(query):
        notes.append(UNORDERED)
    return _without_end(query)


def _without_end(query: str) -> str:
    """A query without what follows it: blanks, semicolons and comments."""
    plain = list(query)
    for found in _QUOTED.finditer(query):
        sign = " " if found[0].startswith(("--", "/*")) else "x"
        plain[found.start() : found.end()] = sign * len(found[0])
    return query[: len("".join(plain).rstrip("; \t\r\n"))]


def _kept(
    connection: Connection,
    query: str,
    options: dict[str, str],
    path: Path,
    name: str,
    notes: list[str],
) -> File:
    cursor: Cursor
    with connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**options)
        cursor.execute(query)
        return spool(_numbers(cursor.fetch_record_batch(), notes), path, name)


def _numbers(rows: pa.RecordBatchReader, notes: list[str]) -> pa.RecordBatchReader:
    """PostgreSQL's numeric, which ADBC gives as text, as double."""
    numeric = [column.name for column in rows.schema if _is_numeric(column)]
    for name in numeric:
        notes.append(f"Column {name!r} is numeric and was read as double, which holds 15 digits.")
    schema = pa.schema(
        pa.field(column.name, pa.float64()) if column.name in numeric else column
        for column in rows.schema
    )

    def converted() -> Iterator[pa.RecordBatch]:
        for batch in rows:
            columns = [
                _storage(values).cast(pa.float64()) if column.type == pa.float64() else values
                for column, values in zip(schema, batch.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, converted())


def _is_numeric(column: pa.Field) -> bool:
    told = (column.metadata or {}).get(b"ADBC:postgresql:typname")
    return (told == b"numeric" or getattr(column.type, "type_name", "") == "numeric") and (
        column.type != pa.float64()
    )


def _storage(values: pa.Array) -> pa.Array:
    return values.storage if isinstance(values, pa.ExtensionArray) else values


@contextlib.contextmanager
def _naming_server(name: str) -> Iterator[None]:
    """What ADBC says of a connection or a query that fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise EdgelineError(f"{name}: {install_hint(error)}.") from error
    except EdgelineError:
        raise
    except Exception as error:  # of a connection that breaks, Arrow's own
        of_adbc = type(error).__module__.startswith("adbc_driver_manager")
        if not of_adbc and not isinstance(error, (OSError, pa.ArrowException)):
            raise
        reason = " ".join(str(error).split())
        raise EdgelineError(
            f"{name} did not answer the query ({reason}): fix the query, or the connection."
        ) from error
