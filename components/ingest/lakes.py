"""Rows of a Delta Lake or Iceberg table as one snapshot has them, by the tables' own libraries.

So rows that were deleted are not read, and a table that the library cannot read in full, such as
one with features that it does not know, is refused. Delta's files come in the order of their paths.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from edgeline.components.ingest.spool import spool
from edgeline.errors import EdgelineError, UsageError
from edgeline.extras import install_hint
from edgeline.stores import remote, tables
from edgeline.stores.endpoints import endpoint
from edgeline.stores.storage import File
from edgeline.stores.tables import DELTA, PINS, TableLocation

BATCH_ROWS = 8192
_FRAMES = re.compile(r" (?:stack backtrace:|0: )", re.IGNORECASE)  # Rust's, behind what it says


def read_lake(table: TableLocation, path: Path) -> File:
    """The rows of a table's snapshot, whose version or id becomes part of the file's name.

    Raises:
        EdgelineError: there is no such table or snapshot, or the library cannot read it.
    """
    with _naming_table(table):
        rows, snapshot = _delta(table) if table.kind == DELTA else _iceberg(table)
        return spool(rows, path, f"{table.name}{PINS[table.kind]}{snapshot}")


def _delta(table: TableLocation) -> tuple[pa.RecordBatchReader, str]:
    from deltalake import DeltaTable
    from pyarrow import dataset

    scheme = remote.scheme(table.place)
    place = table.place.replace("minio://", "s3://", 1) if scheme == "minio" else table.place
    version = _number(table) if table.snapshot else None
    found = DeltaTable(place, version=version, storage_options=_options(scheme))
    rows = found.to_pyarrow_dataset()
    parts = sorted(rows.get_fragments(), key=lambda part: str(part.path))
    ordered = dataset.FileSystemDataset(
        parts, rows.schema, dataset.ParquetFileFormat(), rows.filesystem
    )
    scanner = ordered.scanner(batch_size=BATCH_ROWS, batch_readahead=1, fragment_readahead=1)
    return scanner.to_reader(), str(found.version())


def _iceberg(table: TableLocation) -> tuple[pa.RecordBatchReader, str]:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.table import StaticTable, Table

    found: Table
    if remote.scheme(table.place):
        catalog, _, name = table.place.partition("://")[2].partition("/")
        found = load_catalog(catalog).load_table(name)
    else:
        found = StaticTable.from_metadata(str(tables.iceberg_metadata(Path(table.place))))
    newest = found.current_snapshot()
    number = _number(table) if table.snapshot else newest.snapshot_id if newest else None
    if number is None:
        raise EdgelineError(f"{table.name} has no row: give a table with at least one.")
    return found.scan(snapshot_id=number).to_arrow_batch_reader(), str(number)


def _number(table: TableLocation) -> int:
    try:
        return int(table.snapshot)
    except ValueError:
        raise UsageError(
            f"{table.name} is pinned by {PINS[table.kind]}{table.snapshot}: give a whole number."
        ) from None


def _options(scheme: str) -> dict[str, str] | None:
    """What `edgeline.stores.endpoints` says, for a library that reads S3 itself."""
    if scheme not in ("s3", "minio"):
        return None
    store = endpoint(scheme)
    found = {"AWS_REGION": store.region} if store.region else {}
    if store.variable:
        found["AWS_ENDPOINT_URL"] = store.url
        found["AWS_ALLOW_HTTP"] = str(urlsplit(store.url).scheme == "http").lower()
    if keys := store.credentials:
        found |= {"AWS_ACCESS_KEY_ID": keys.key, "AWS_SECRET_ACCESS_KEY": keys.secret}
        found |= {"AWS_SESSION_TOKEN": keys.token} if keys.token else {}
    return found


@contextlib.contextmanager
def _naming_table(table: TableLocation) -> Iterator[None]:
    """What the libraries say of a table that they cannot read; each has exceptions of its own."""
    try:
        yield
    except ModuleNotFoundError as error:
        kind = table.kind.capitalize()
        raise EdgelineError(f"{table.name} is a table of {kind}. {install_hint(error)}.") from error
    except EdgelineError:
        raise
    except Exception as error:
        reason = _FRAMES.split(" ".join(str(error).split()))[0]
        raise EdgelineError(
            f"{table.name} cannot be read ({type(error).__name__}: {reason}): check the location, "
            "the snapshot and the credentials, or give its rows as Parquet."
        ) from error
