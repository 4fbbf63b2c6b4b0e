"""What outlives the server: devices, keys and tokens, in SQLite or PostgreSQL.

The SQL is common to both. A transaction is one change, or a batch of statuses: what was answered is
on the disk. One server has a database: SQLite's by a lock of the folder, PostgreSQL's by an
advisory lock of the connection (PostgreSQL's manual, 13.3.5), which is taken again with each new
connection.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from edgeline.errors import EdgelineError, UsageError, at_path, first_line
from edgeline.local import folders
from edgeline.stores import tables

FILE, LOCK, VERSION = "fleet.sqlite", "lock", 1
SCHEMES = ("postgresql://", "postgres://")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS fleet_devices (
  name TEXT PRIMARY KEY, public_key BYTES, device_groups TEXT, token TEXT, enrolled REAL,
  revoked REAL, counter INTEGER, received REAL, body BYTES);
CREATE TABLE IF NOT EXISTS fleet_keys (public_key BYTES PRIMARY KEY, device TEXT, enrolled REAL);
CREATE TABLE IF NOT EXISTS fleet_tokens (
  token TEXT PRIMARY KEY, public_key BYTES, device TEXT, device_groups TEXT, made REAL,
  expires REAL, used_by TEXT, used_key BYTES);
CREATE TABLE IF NOT EXISTS fleet_version (version INTEGER PRIMARY KEY)
"""
_TYPES = {"BYTES": "BYTEA", "REAL": "DOUBLE PRECISION", "INTEGER": "BIGINT"}
_LOCK_NUMBER = int.from_bytes(hashlib.sha256(b"edgeline fleet").digest()[:8], "big", signed=True)
# seconds after which a connection to a machine that is gone ends, instead of two hours
_KEEPALIVE = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}


class KeptError(EdgelineError):
    """The database does not keep or tell what it should."""


class Connected(Protocol):
    """A database. For one thread at a time."""

    place: str

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Sequence[Any]]:
        """The rows of a query, whose values are `?`."""

    def do(self, sql: str, many: Iterable[Sequence[object]]) -> None:
        """Execute a statement for each row of values."""

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """All that is done within, or nothing.

        Raises:
            KeptError: it is not kept.
        """

    def close(self) -> None: ...


def connect(folder: Path, url: str | None) -> Connected:
    """The database of a server, which nobody else has.

    Args:
        folder: of SQLite's file, without a URL.
        url: of a PostgreSQL database, without a password.

    Raises:
        UsageError: the URL is not one, or holds a password.
        EdgelineError: another server has it, or it does not answer.
    """
    if url is None:
        return SqliteDatabase(folder)
    if not url.startswith(SCHEMES):
        raise UsageError("--database is not an address: give postgresql://USER@HOST/NAME.")
    tables.refuse_password(url, "--database")
    return PostgresDatabase("postgresql://" + url.partition("://")[2])


class SqliteDatabase:
    """A file in a folder."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._held = contextlib.ExitStack()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            is_ours = self._held.enter_context(folders.locked(folder / LOCK))
        except OSError as error:
            raise at_path(
                error, f"--state {folder} cannot be written ({error.strerror}): name another."
            ) from error
        if not is_ours:
            raise EdgelineError(
                f"Another `edgeline fleet serve` has {folder}: end it, or name another folder with "
                "--state."
            )
        try:
            self._base = sqlite3.connect(
                folder / FILE, isolation_level=None, check_same_thread=False
            )
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000"):
                self._base.execute(f"PRAGMA {pragma}")
            self._base.executescript(_SCHEMA)
            _check_version(self)
        except sqlite3.Error as error:
            self._held.close()
            raise EdgelineError(
                f"{folder} does not hold the state of a fleet ({error}): name another folder with "
                "--state, or move that one away."
            ) from error

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Sequence[Any]]:
        return self._base.execute(sql, values).fetchall()

    def do(self, sql: str, many: Iterable[Sequence[object]]) -> None:
        self._base.executemany(sql, many)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._base.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise KeptError(f"The state cannot be kept in {self.place} ({error}).") from error

    def close(self) -> None:
        self._base.close()
        self._held.close()


class PostgresDatabase:
    """Tables in a database; a connection that was lost is made again with the next transaction."""

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ModuleNotFoundError as error:
            raise EdgelineError(
                "--database needs psycopg: pip install 'edgeline[fleet]'."
            ) from error
        self._url, self._failures = url, psycopg.Error
        parts = urlsplit(url)
        self.place = f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._base: Any = None
        with self.transaction():
            schema = _SCHEMA
            for name, other in _TYPES.items():
                schema = schema.replace(f" {name}", f" {other}")
            for statement in schema.split(";"):
                self.do(statement, [()])
            _check_version(self)

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Sequence[Any]]:
        found: list[Sequence[Any]] = self._base.execute(sql.replace("?", "%s"), values).fetchall()
        return found

    def do(self, sql: str, many: Iterable[Sequence[object]]) -> None:
        with self._base.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s"), list(many))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self._connect()
            with self._base.transaction():
                yield
        except self._failures as error:
            raise KeptError(
                f"The fleet's database {self.place} does not answer as it should "
                f"({first_line(error)}): look at --database, and at PGPASSWORD or PGPASSFILE."
            ) from error

    def close(self) -> None:
        self._base.close()

    def _connect(self) -> None:
        import psycopg

        if self._base is not None and not self._base.closed:
            return
        base = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
        for name, value in _KEEPALIVE.items():
            base.execute(f"SET {name} = {value}")
        found = base.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK_NUMBER]).fetchone()
        if found is None or not found[0]:
            base.close()
            raise KeptError(
                f"Another `edgeline fleet serve` has {self.place}: end it, or give another "
                "database."
            )
        self._base = base


def _check_version(base: Connected) -> None:
    found = [version for (version,) in base.rows("SELECT version FROM fleet_version")]
    if not found:
        base.do("INSERT INTO fleet_version VALUES (?)", [(VERSION,)])
    elif found != [VERSION]:
        raise EdgelineError(f"{base.place} is of another edgeline: give another place.")


def groups_text(groups: Iterable[str]) -> str:
    return json.dumps(list(groups))
