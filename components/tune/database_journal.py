"""A search's journal in a PostgreSQL database, which workers of several machines share.

A search's study is named after what it searches, so one database holds many. Which worker is
alive, and whose turn it is, the server tells by advisory locks, which a connection holds and which
end with it (PostgreSQL's manual, 13.3.5). A pooler that gives a connection to others between two
transactions has no such locks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgeline.components.tune import journal
from edgeline.errors import EdgelineError, UsageError, first_line
from edgeline.extras import install_hint
from edgeline.stores import tables

if TYPE_CHECKING:
    import optuna
    import psycopg

SCHEME = "postgresql"
SPELLINGS = (SCHEME, "postgres")  # as libpq and ingest take it, too
# seconds after which a server takes a machine that is gone for gone, instead of its two hours
KEEPALIVE = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}


def is_database(place: str) -> bool:
    """Whether a search's place is a database, not a folder.

    Raises:
        UsageError: it is an address of something else, which would be taken for a folder.
    """
    scheme, colon, _ = place.partition("://")
    if colon and scheme not in SPELLINGS:
        raise UsageError(
            f"study_folder is at {scheme}://, where no search can be kept: give a folder of a "
            "volume, or postgresql://USER@HOST/NAME."
        )
    return bool(colon)


def of(url: str, identity: Mapping[str, Any]) -> DatabaseJournal:
    """The journal of one search in a database.

    Args:
        url: as libpq takes it, `postgresql://USER@HOST:PORT/DATABASE`; the password comes from
            `PGPASSWORD` or `PGPASSFILE`.
        identity: what all trials of the search have in common, as JSON.

    Raises:
        UsageError: it has a password in it.
    """
    tables.refuse_password(url, "study_folder")
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    rest = url.partition("://")[2]
    return DatabaseJournal(f"{SCHEME}://{rest}", f"{journal.STUDY}-{digest[:16]}")


@dataclass(frozen=True)
class DatabaseJournal:
    """One search in a database."""

    url: str
    study: str

    @property
    def place(self) -> str:
        parts = urlsplit(self.url)
        return f"{SCHEME}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def storage(self) -> optuna.storages.BaseStorage:
        from optuna.exceptions import StorageInternalError
        from optuna.storages import RDBStorage
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.pool import NullPool

        driver = f"{SCHEME}+psycopg" + self.url.removeprefix(SCHEME)
        try:
            with self._locked("tables"):  # which are made once, by whichever search is first
                # no pool: a step that reports its epochs is a fork, and may share no connection
                return RDBStorage(driver, engine_kwargs={"poolclass": NullPool})
        except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
            raise self._failure(error) from error

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        with self._locked(f"{self.study}/turn"):
            yield

    @contextlib.contextmanager
    def worker(self) -> Iterator[str]:
        name = uuid.uuid4().hex
        with self._locked(f"{self.study}/{name}"):
            yield name

    def is_alive(self, worker: str) -> bool:
        with self._connected() as connection:
            taken = connection.execute(
                "SELECT pg_try_advisory_lock(%s)", [_key(f"{self.study}/{worker}")]
            ).fetchone()
            return taken is not None and not taken[0]

    def copy(self, path: Path) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.copy_study(
            from_study_name=self.study,
            from_storage=self.storage(),
            to_storage=JournalStorage(JournalFileBackend(str(path))),
            to_study_name=journal.STUDY,
        )

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with self._connected() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [_key(name)])
            yield

    @contextlib.contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of one's own, which ends with the block, and its locks with it."""
        try:
            import psycopg
        except ModuleNotFoundError as error:
            raise EdgelineError(
                f"A search in a database needs psycopg. {install_hint(error)}."
            ) from error
        try:
            connection = psycopg.connect(self.url, autocommit=True)
            for name, value in KEEPALIVE.items():
                connection.execute(f"SET {name} = {value}")
        except psycopg.Error as error:
            raise self._failure(error) from error
        with contextlib.closing(connection):
            try:
                yield connection
            except psycopg.Error as error:
                raise self._failure(error) from error

    def _failure(self, error: Exception) -> EdgelineError:
        return EdgelineError(
            f"The search's database {self.place} does not answer as it should "
            f"({first_line(error)}): look at study_folder, and at PGPASSWORD in the environment "
            "of the task."
        )


def _key(name: str) -> int:
    """Of a lock: 64 bits with a sign, as the server takes them."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
