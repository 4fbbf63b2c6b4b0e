"""Tables that are more than the files that lie there: where one is, and which snapshot of it.

| location                                      | what                | pinned by        |
|-----------------------------------------------|---------------------|------------------|
| `postgresql://user@host:port/database`        | a PostgreSQL server |                  |
| a folder, `s3://`, `gs://` with `_delta_log`  | Delta Lake          | `#version=3`     |
| a folder with `metadata/*.metadata.json`      | Apache Iceberg      | `#snapshot=8137` |
| `iceberg://catalog/namespace.table`           | the same            | `#snapshot=8137` |

Passwords come from the environment, never from a location: libpq's `PGPASSWORD`, `PGPASSFILE` and
`PGSERVICEFILE`, pyiceberg's `PYICEBERG_CATALOG__NAME__TOKEN`. The files of a Delta table
alone would be its rows and those that were deleted since, so its folder is never read as files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from edgeline.errors import EdgelineError, UsageError
from edgeline.stores import endpoints, remote
from edgeline.stores.again import again

DATABASE, DELTA, ICEBERG = "postgresql", "delta", "iceberg"
PINS = {DELTA: "#version=", ICEBERG: "#snapshot="}
_PINNED = re.compile(r"#(?:version|snapshot)=(.*)$", re.DOTALL)
_COMMIT = re.compile(r"(\d{20})\.(?:json|checkpoint(?:\..+)?\.parquet)")
_METADATA = re.compile(r"v?(\d+)(?:-[^/]*)?(?:\.gz)?\.metadata\.json(?:\.gz)?")
_SECRETS = ("password", "sslpassword")  # parameters of libpq


@dataclass(frozen=True)
class TableLocation:
    """One table.

    Attributes:
        kind: DATABASE, DELTA or ICEBERG.
        place: where it is, without a pin.
        snapshot: the version or the snapshot's id that is pinned; "" for the newest.
    """

    kind: str
    place: str
    snapshot: str = ""

    @property
    def name(self) -> str:
        """What may be recorded and shown: no user, no parameters, of a local folder its name."""
        if self.kind == DATABASE:
            parts = urlsplit(self.place)
            return f"{DATABASE}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        return self.place if remote.scheme(self.place) else Path(self.place).name


def find(data: str | Sequence[str]) -> TableLocation | None:
    """The table that some data is, as far as this machine tells; None where it is files.

    Raises:
        UsageError: a location has a password, a pin that its kind does not take, or two pins.
    """
    return _find(data, _kind)


def look_up(data: str | Sequence[str]) -> TableLocation | None:
    """The table that some data is, where object stores are asked, too.

    Raises:
        UsageError: as `find`.
        EdgelineError: a store cannot be asked.
    """
    return _find(data, lambda place: _kind(place) or again(lambda: _kind_in_store(place)))


def _find(data: str | Sequence[str], kind_of: Callable[[str], str]) -> TableLocation | None:
    places = [data] if isinstance(data, str) and _is_database(data) else _split(data)
    found = [table for place in places if (table := _of(place.strip(), kind_of))]
    if found and len(places) > 1:
        raise UsageError(
            f"{found[0].name} is a table, and {len(places) - 1} more locations are given: ingest "
            "one table at a time."
        )
    return found[0] if found else None


def current(table: TableLocation) -> str:
    """The version or snapshot that a local table has now; "" where it says none.

    Raises:
        EdgelineError: it cannot be read.
    """
    folder = Path(table.place)
    if table.kind == DELTA:
        names = (_COMMIT.fullmatch(file.name) for file in (folder / "_delta_log").iterdir())
        return str(max((int(match[1]) for match in names if match), default=""))
    try:
        found = json.loads(iceberg_metadata(folder).read_bytes()).get("current-snapshot-id")
    except (OSError, ValueError) as error:
        raise EdgelineError(f"The metadata of {table.name} cannot be read ({error}).") from error
    return "" if found in (None, -1) else str(found)


def delta_above(files: Iterable[str]) -> Path | None:
    """The folder of a Delta table in which some local files lie, of which it says nothing."""
    folders = {parent for file in files for parent in Path(file).absolute().parents}
    return next((each for each in sorted(folders) if (each / "_delta_log").is_dir()), None)


def iceberg_metadata(folder: Path) -> Path:
    """The newest metadata file of a local Iceberg table.

    Raises:
        EdgelineError: there is none.
    """
    found = [
        (int(match[1]), file)
        for file in (folder / "metadata").iterdir()
        if (match := _METADATA.fullmatch(file.name))
    ]
    if not found:
        raise EdgelineError(f"{folder} has no metadata of Iceberg: give the table's folder.")
    return max(found)[1]


def _is_database(data: str) -> bool:
    return remote.scheme(data.strip()) in (DATABASE, "postgres")


def _split(data: str | Sequence[str]) -> list[str]:
    parts = data.split(",") if isinstance(data, str) else data
    return [part for part in parts if part.strip()]


def _of(location: str, kind_of: Callable[[str], str]) -> TableLocation | None:
    if _is_database(location):
        refuse_password(location, "data")
        return TableLocation(DATABASE, location)
    pinned = _PINNED.search(location)
    place = location[: pinned.start()] if pinned else location
    if remote.scheme(place) == "file":
        place = unquote(place[len("file://") :])
    if not (kind := kind_of(place.partition(remote.PIN)[0])):
        return None
    if remote.PIN in place or (pinned and not location[pinned.start() :].startswith(PINS[kind])):
        raise UsageError(
            f"{remote.public(place)} is a table of {kind.capitalize()}, which is pinned by "
            f"{PINS[kind]}: write that instead."
        )
    return TableLocation(kind, place, pinned[1] if pinned else "")


def _kind(place: str) -> str:
    scheme = remote.scheme(place)
    if scheme:
        return ICEBERG if scheme == ICEBERG else ""
    if (Path(place) / "_delta_log").is_dir():
        return DELTA
    try:
        files = (Path(place) / "metadata").iterdir()
        return ICEBERG if any(_METADATA.fullmatch(file.name) for file in files) else ""
    except OSError:
        return ""


def _kind_in_store(place: str) -> str:
    key = place.partition("://")[2].rstrip("/")
    if remote.scheme(place) not in endpoints.SCHEMES or any(mark in key for mark in "*?["):
        return ""
    try:
        return DELTA if "/" in key and remote.list_keys(place, f"{key}/_delta_log") else ""
    except Exception as error:  # each client has its own family of exceptions
        raise remote.failure(place, error) from error


def refuse_password(location: str, parameter: str) -> None:
    """Refuse a database's location that has a secret in it, since parameters are seen by many.

    Raises:
        UsageError: it has one, or cannot be read.
    """
    try:
        parts = urlsplit(location)
        told = parts.password or any(name in _SECRETS for name in parse_qs(parts.query))
    except ValueError as error:
        raise UsageError(f"The location of the database cannot be read ({error}).") from None
    if told:
        place = f"{DATABASE}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise UsageError(
            f"{parameter} has the password of {place}, which everybody would see who sees the run: "
            "leave it out, and set PGPASSWORD in the environment of the task, in a cluster from a "
            "secret."
        )
