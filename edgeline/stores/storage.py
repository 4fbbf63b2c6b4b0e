"""Where data lies: local paths, s3://, gs://, abfs://, https:// and minio:// behind one door.

| location                | read by    | endpoint and credentials from                            |
|-------------------------|------------|----------------------------------------------------------|
| path, `file://`         | Python     |                                                          |
| `package://name/file`   | Python     | a file that an installed package carries                 |
| `s3://bucket/key`       | pyarrow.fs | `edgeline.stores.endpoints`, AWS's own defaults          |
| the same, identity      | minio      | `edgeline.stores.access`                                 |
| `minio://bucket/key`    | minio      | `edgeline.stores.access`                                 |
| `gs://bucket/key`       | obstore    | the same                                                 |
| `abfs://container/key`  | obstore    | the same                                                 |
| `https://`, `http://`   | fsspec     | the URL; proxies and .netrc as usual                     |
| `hf://datasets/o/name/` | the hub's client | see `edgeline.stores.hub_datasets`                 |

A location may name one file, a folder (all files below it, but those hidden by a leading
`.` or `_`) or a glob (`*` and `?` stay within a folder, `**` crosses folders; a leading `.`
hides); a web address names one file. Locations are given as a list, or as one string with
commas between them.

A remote transfer that breaks off is tried again (`edgeline.stores.again`), from where it broke off.

`#sha256=<hex>` after a location pins its content: the digest of the file, or of the
folder's or glob's listing (see `digest`).
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote

from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import plain_file
from edgeline.stores import hub_datasets, remote, tables
from edgeline.stores.again import PassingError, again
from edgeline.stores.endpoints import STORES
from edgeline.stores.remote import PIN

PIECE = 1 << 20
CONNECTIONS = 8
SCHEMES = ("", "package", "http", "https", *STORES, hub_datasets.SCHEME)


@dataclass(frozen=True)
class LocatedFile:
    """One file where it lies.

    `name` is what may be recorded and shown: relative to the folder or glob that found it
    (remote: the location without user, password and query). `given` is the location that
    found it, `pin` the sha256 that all files found by `given` must have together.
    """

    location: str
    name: str
    given: str
    pin: str = ""


@dataclass(frozen=True)
class File:
    """One file on this machine, with its sha256 (hexadecimal) and size in bytes."""

    path: Path
    name: str
    sha256: str
    size: int


def resolve(data: str | Sequence[str]) -> list[LocatedFile]:
    """The files that some locations name, in the order given, each location's sorted by path.

    Raises:
        UsageError: a location names nothing, or a file that another has named already.
        EdgelineError: it may not be read or cannot be reached.
    """
    sources: dict[str, LocatedFile] = {}
    for given in _locations(data):
        place, _, pin = given.partition(PIN)
        for location, name in _find(place):
            if location in sources:
                raise UsageError(
                    f"{name} is named twice, by {remote.public(sources[location].given)} and by "
                    f"{remote.public(given)}: give every file once."
                )
            sources[location] = LocatedFile(location, name, given, pin.lower())
    if not sources:
        raise UsageError("No data is given: name at least one file, folder or glob.")
    return list(sources.values())


def open_source(source: LocatedFile) -> BinaryIO:
    """A stream of a source's bytes; reading its end checks the pin of a single file.

    Raises:
        EdgelineError: now or while reading: it is gone, may not be read, the connection
            broke, or the digest is not the pinned one.
    """
    return io.BufferedReader(_Watched(source), PIECE)


def fetch(sources: Sequence[LocatedFile], folder: Path) -> list[File]:
    """Bring sources to this machine and check their pins; remote ones are copied into `folder`.

    Raises:
        EdgelineError: as `open_source`, or a folder or glob lacks its pinned digest.
    """
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        targets = (folder / f"{number:08d}" for number in itertools.count())
        files = list(pool.map(_fetch, sources, targets))
    for (given, pin), group in itertools.groupby(
        zip(sources, files, strict=True), key=lambda pair: (pair[0].given, pair[0].pin)
    ):
        _check_pin(given, pin, digest(file for _, file in group))
    return files


def digest(files: Iterable[File]) -> str:
    """The sha256 of one file; of several, that of their listing as `sha256sum` prints it."""
    files = list(files)
    if len(files) == 1:
        return files[0].sha256
    lines = "".join(f"{file.sha256}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def pin(data: str) -> str:
    """Locations with local content pinned to what it is now; remote ones stay as they are.

    A table (see `tables`) is pinned to its snapshot, a database to nothing.

    Raises:
        UsageError: a local location names nothing, or a scheme is not known.
        EdgelineError: a local location cannot be read.
    """
    if (table := tables.find(data)) and table.kind == tables.DATABASE:
        return data
    return ",".join(map(_pinned, _locations(data)))


def _pinned(location: str) -> str:
    if table := tables.find(location):
        is_whole = table.snapshot or remote.scheme(table.place)
        return (
            location if is_whole else f"{location}{tables.PINS[table.kind]}{tables.current(table)}"
        )
    if PIN in location or remote.scheme(location) not in ("", "package"):
        _check_scheme(location)
        return location
    return location + PIN + digest(fetch(resolve([location]), Path()))


def _locations(data: str | Sequence[str]) -> list[str]:
    parts = data.split(",") if isinstance(data, str) else data
    if len(parts) > 1 and isinstance(data, str) and Path(data).is_file():
        raise UsageError(
            f"{data} has a comma in its name, which stands between two locations: rename it."
        )
    return [
        unquote(part.strip()[len("file://") :])
        if remote.scheme(part.strip()) == "file"
        else part.strip()
        for part in parts
        if part.strip()
    ]


# Finding


def _find(place: str) -> list[tuple[str, str]]:
    """(location, name) of every file that a location without pin names."""
    found = again(lambda: _found(place))
    if not found:
        raise UsageError(f"{place} names no file: check the path and the pattern.")
    return found


def _found(place: str) -> list[tuple[str, str]]:
    try:
        _check_scheme(place)
        scheme = remote.scheme(place)
        if not scheme:
            return _find_local(place)
        if scheme == "package":
            return _find_local(_package_path(place))
        if scheme in ("http", "https"):
            return [(place, remote.public(place))]
        return _find_keys(place)
    except EdgelineError:
        raise
    except Exception as error:  # each client has its own family of exceptions
        raise _failure(place, error) from error


def _failure(place: str, error: Exception) -> EdgelineError:
    """A disk's failure does not pass."""
    found = remote.failure(place, error)
    if remote.scheme(place) in ("", "package") and isinstance(found, PassingError):
        return EdgelineError(str(found))
    return found


def _check_scheme(place: str) -> None:
    if (scheme := remote.scheme(place)) not in SCHEMES:
        raise UsageError(
            f"{place} has the scheme {scheme}://, which is not known: "
            "give a path, s3://, gs://, abfs://, minio:// or https://."
        )


def _find_local(path: str) -> list[tuple[str, str]]:
    kind = plain_file.kind(path)
    if kind == plain_file.FOLDER:
        base = Path(path)
        found = sorted(file for file in base.rglob("*") if _visible(file.relative_to(base)))
    elif kind:  # a name may hold a glob's characters
        if kind != plain_file.FILE:
            raise UsageError(f"{path} is {kind}, not a file: give a file or a folder.")
        return [(path, Path(path).name)]
    elif _is_glob(path):
        base = Path(_fixed_folder(path))
        pattern = str(PurePosixPath(path).relative_to(base))
        found = sorted(file for file in base.glob(pattern) if _visible(file.relative_to(base), "."))
    else:
        return []
    return [(str(file), file.relative_to(base).as_posix()) for file in found if file.is_file()]


def _package_path(place: str) -> str:
    """The path of a file that an installed package carries: `package://a.b/file.csv`."""
    package, _, name = place.partition("://")[2].partition("/")
    try:
        return str(resources.files(package).joinpath(name))
    except ModuleNotFoundError as error:
        raise UsageError(f"{place} names a package that is not installed: {error}.") from None


def _find_keys(place: str) -> list[tuple[str, str]]:
    scheme, _, path = place.partition("://")
    if scheme == hub_datasets.SCHEME:
        path = hub_datasets.at_commit(place)
    if not path.strip("/"):
        raise UsageError(f"{place} names no bucket: write {scheme}://bucket/key.")
    prefix = _fixed_folder(path) if _is_glob(path) else path.rstrip("/")
    keys = sorted(remote.list_keys(place, prefix))
    if _is_glob(path):
        pattern = _glob_expression(path)
        keys = [key for key in keys if pattern.fullmatch(key) and _visible(key, ".")]
    elif path in keys:
        keys = [path]
    else:
        below = prefix + "/"
        keys = [key for key in keys if key.startswith(below) and _visible(key[len(below) :])]
    return [(f"{scheme}://{key}", f"{scheme}://{key}") for key in keys]


def _is_glob(path: str) -> bool:
    return any(mark in path for mark in "*?[")


def _fixed_folder(pattern: str) -> str:
    """The folder before a pattern's first folder with a glob character."""
    parts = PurePosixPath(pattern).parts
    return str(PurePosixPath(*itertools.takewhile(lambda part: not _is_glob(part), parts)))


def _glob_expression(pattern: str) -> re.Pattern[str]:
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", pattern)
    return re.compile(
        "".join(
            meaning.get(token)
            or (token.replace("[!", "[^") if len(token) > 1 else re.escape(token))
            for token in tokens
        )
    )


def _visible(path: str | Path, marks: str = "._") -> bool:
    return not any(part[0] in marks for part in PurePosixPath(path).parts)


# Reading


class _Watched(io.RawIOBase):
    """The bytes of a source, digested as they pass, with failures in words."""

    def __init__(self, source: LocatedFile) -> None:
        self._source = source
        self._digest = hashlib.sha256()
        self._passed = 0  # bytes
        self._raw = again(self._opened)

    def _opened(self) -> Any:
        location = self._source.location
        try:
            if remote.scheme(location):
                return remote.open_remote(location)
            return open(location, "rb", buffering=0)
        except Exception as error:
            raise _failure(location, error) from error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._raw.read(len(buffer))
        except Exception as error:
            failure = _failure(self._source.location, error)
            if not isinstance(failure, PassingError):
                raise failure from error
            piece = again(lambda: self._read_on(len(buffer)))
        self._digest.update(piece)
        self._passed += len(piece)
        if not piece and self._source.location == self._source.given.partition(PIN)[0]:
            _check_pin(self._source.given, self._source.pin, self._digest.hexdigest())
        buffer[: len(piece)] = piece
        return len(piece)

    def _read_on(self, size: int) -> bytes:
        """The next bytes from a new connection, if what came before them is still the same."""
        raw, digest, left = self._opened(), hashlib.sha256(), self._passed
        try:
            while left:
                if not (piece := raw.read(min(PIECE, left))):
                    break
                digest.update(piece)
                left -= len(piece)
            found: bytes = raw.read(size)
        except Exception as error:
            raw.close()
            raise _failure(self._source.location, error) from error
        if digest.digest() != self._digest.digest():
            raw.close()
            raise EdgelineError(
                f"{remote.public(self._source.location)} changed while it was read: run again."
            )
        self._raw.close()
        self._raw = raw
        return found

    def close(self) -> None:
        if not self.closed and hasattr(self, "_raw"):
            self._raw.close()
        super().close()


def _fetch(source: LocatedFile, target: Path) -> File:
    local = not remote.scheme(source.location)
    path, sha256, size = Path(source.location) if local else target, hashlib.sha256(), 0
    with open_source(source) as stream, open(os.devnull if local else target, "wb") as copy:
        while piece := stream.read(PIECE):
            sha256.update(piece)
            size += len(piece)
            if not local:
                copy.write(piece)
    return File(path, source.name, sha256.hexdigest(), size)


def _check_pin(given: str, pin: str, found: str) -> None:
    if pin and pin != found:
        raise EdgelineError(
            f"{remote.public(given)} has the sha256 {found}, but {pin} is pinned: "
            "give the pinned content or renew the pin."
        )
