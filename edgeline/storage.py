"""Where data lies: local paths, s3://, gs://, https:// and minio:// behind one door.

| location                | read by    | endpoint and credentials from                            |
|-------------------------|------------|----------------------------------------------------------|
| path, `file://`         | Python     |                                                          |
| `package://name/file`   | Python     | a file that an installed package carries                 |
| `s3://bucket/key`       | pyarrow.fs | `AWS_*`, `AWS_ENDPOINT_URL`                              |
| `gs://bucket/key`       | pyarrow.fs | Google's defaults, `STORAGE_EMULATOR_HOST`               |
| `minio://bucket/key`    | minio      | `MINIO_ENDPOINT`, `_ACCESS_KEY`, `_SECRET_KEY`, `_SECURE` |
| `https://`, `http://`   | fsspec     | the URL; proxies and .netrc as usual                     |

A location may name one file, a folder (all files below it, but those hidden by a leading
`.` or `_`) or a glob (`*` and `?` stay within a folder, `**` crosses folders; a leading `.`
hides); a web address names one file. Locations are given as a list, or as one string with
commas between them.

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
from datetime import timedelta
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from edgeline.errors import EdgelineError

PIN = "#sha256="
PIECE = 1 << 20
REQUEST_BYTES = 8 << 20  # asked of an object store at once
CONNECTIONS = 8
GIVE_UP = timedelta(minutes=1)


@dataclass(frozen=True)
class Source:
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


def resolve(data: str | Sequence[str]) -> list[Source]:
    """The files that some locations name, in the order given, each location's sorted by path.

    Raises:
        EdgelineError: a location names nothing, may not be read, cannot be reached, or
            names a file that another has named already.
    """
    sources: dict[str, Source] = {}
    for given in _locations(data):
        place, _, pin = given.partition(PIN)
        for location, name in _find(place):
            if location in sources:
                raise EdgelineError(
                    f"{name} is named twice, by {_public(sources[location].given)} and by "
                    f"{_public(given)}: give every file once."
                )
            sources[location] = Source(location, name, given, pin.lower())
    if not sources:
        raise EdgelineError("No data is given: name at least one file, folder or glob.")
    return list(sources.values())


def open_source(source: Source) -> BinaryIO:
    """A stream of a source's bytes; reading its end checks the pin of a single file.

    Raises:
        EdgelineError: now or while reading: it is gone, may not be read, the connection
            broke, or the digest is not the pinned one.
    """
    return io.BufferedReader(_Watched(source), PIECE)


def fetch(sources: Sequence[Source], folder: Path) -> list[File]:
    """Bring sources to this machine and check their pins; remote ones are copied into `folder`.

    Raises:
        EdgelineError: as `open_source`, or a folder or glob has not its pinned digest.
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

    Raises:
        EdgelineError: a local location names nothing or cannot be read.
    """
    return ",".join(map(_pinned, _locations(data)))


def _pinned(location: str) -> str:
    if PIN in location or _scheme(location) not in ("", "package"):
        return location
    return location + PIN + digest(fetch(resolve([location]), Path()))


def _locations(data: str | Sequence[str]) -> list[str]:
    parts = data.split(",") if isinstance(data, str) else data
    return [
        unquote(part.strip()[len("file://") :]) if _scheme(part.strip()) == "file" else part.strip()
        for part in parts
        if part.strip()
    ]


def _scheme(location: str) -> str:
    scheme, mark, _ = location.partition("://")
    return scheme.lower() if mark else ""


def _public(location: str) -> str:
    """A location that may be shown: no password, no signed query."""
    location = location.partition(PIN)[0]
    if _scheme(location) in ("http", "https"):
        parts = urlsplit(location)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return location


# Finding


def _find(place: str) -> list[tuple[str, str]]:
    """(location, name) of every file that a location without pin names."""
    try:
        scheme = _scheme(place)
        if not scheme:
            found = _find_local(place)
        elif scheme == "package":
            found = _find_local(_package_path(place))
        elif scheme in ("http", "https"):
            found = [(place, _public(place))]
        elif scheme in ("s3", "gs"):
            found = _find_keys(place, _list_pyarrow)
        elif scheme == "minio":
            found = _find_keys(place, _list_minio)
        else:
            raise EdgelineError(
                f"{place} has the scheme {scheme}://, which is not known: "
                "give a path, s3://, gs://, minio:// or https://."
            )
    except EdgelineError:
        raise
    except Exception as error:  # each client has its own family of exceptions
        raise _failure(place, error) from error
    if not found:
        raise EdgelineError(f"{place} names no file: check the path and the pattern.")
    return found


def _find_local(path: str) -> list[tuple[str, str]]:
    if Path(path).is_dir():
        base = Path(path)
        found = sorted(file for file in base.rglob("*") if _visible(file.relative_to(base)))
    elif Path(path).exists():  # a name may hold a glob's characters
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
        raise EdgelineError(f"{place} names a package that is not installed: {error}.") from None


def _find_keys(place: str, list_keys: Any) -> list[tuple[str, str]]:
    """Find in an object store, of which `list_keys(place, prefix)` gives `bucket/key`s."""
    scheme, _, path = place.partition("://")
    if not path.strip("/"):
        raise EdgelineError(f"{place} names no bucket: write {scheme}://bucket/key.")
    prefix = _fixed_folder(path) if _is_glob(path) else path.rstrip("/")
    keys = sorted(list_keys(place, prefix))
    if _is_glob(path):
        pattern = _glob_expression(path)
        keys = [key for key in keys if pattern.fullmatch(key) and _visible(key, ".")]
    elif path in keys:
        keys = [path]
    else:
        below = prefix + "/"
        keys = [key for key in keys if key.startswith(below) and _visible(key[len(below) :])]
    return [(f"{scheme}://{key}", f"{scheme}://{key}") for key in keys]


def _list_pyarrow(place: str, prefix: str) -> list[str]:
    from pyarrow import fs

    filesystem = _pyarrow_filesystem(_scheme(place))
    about = filesystem.get_file_info(prefix)
    if about.type == fs.FileType.File:
        return [prefix]
    selector = fs.FileSelector(prefix, allow_not_found=True, recursive=True)
    found = filesystem.get_file_info(selector)
    bucket = prefix.partition("/")[0]
    if not found and filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
        raise _no_bucket(place)
    return [info.path for info in found if info.type == fs.FileType.File]


def _list_minio(_place: str, prefix: str) -> list[str]:
    bucket, _, key = prefix.partition("/")
    found = _minio_client().list_objects(bucket, prefix=key, recursive=True)
    return [f"{bucket}/{entry.object_name}" for entry in found if not entry.is_dir]


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

    def __init__(self, source: Source) -> None:
        self._source = source
        self._digest = hashlib.sha256()
        try:
            self._raw = _open(source.location)
        except Exception as error:
            raise _failure(source.location, error) from error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._raw.read(len(buffer))
        except Exception as error:
            raise _failure(self._source.location, error) from error
        self._digest.update(piece)
        if not piece and self._source.location == self._source.given.partition(PIN)[0]:
            _check_pin(self._source.given, self._source.pin, self._digest.hexdigest())
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed and hasattr(self, "_raw"):
            self._raw.close()
        super().close()


def _open(location: str) -> Any:
    scheme = _scheme(location)
    path = location.partition("://")[2]
    if scheme in ("s3", "gs"):
        return _pyarrow_filesystem(scheme).open_input_stream(path, buffer_size=REQUEST_BYTES)
    if scheme == "minio":
        bucket, _, key = path.partition("/")
        return _minio_client().get_object(bucket, key)
    if scheme in ("http", "https"):
        return _http_filesystem().open(location, mode="rb", block_size=0)  # 0: as a stream
    return open(location, "rb", buffering=0)


def _fetch(source: Source, target: Path) -> File:
    local = not _scheme(source.location)
    path, sha256, size = Path(source.location) if local else target, hashlib.sha256(), 0
    with open_source(source) as stream, open(os.devnull if local else target, "wb") as copy:
        while piece := stream.read(PIECE):
            sha256.update(piece)
            size += len(piece)
            if not local:
                copy.write(piece)
    return File(path, source.name, sha256.hexdigest(), size)


def _pyarrow_filesystem(scheme: str) -> Any:
    from pyarrow import fs

    if scheme == "gs":
        emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        if not emulator:
            return fs.GcsFileSystem(retry_time_limit=GIVE_UP)
        host = emulator.partition("://")[2] or emulator
        return fs.GcsFileSystem(
            anonymous=True,
            scheme="http",
            endpoint_override=host.rstrip("/"),
            retry_time_limit=GIVE_UP,
        )
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, Any] = {"region": region} if region else {}
    if endpoint:
        kind, mark, host = endpoint.rpartition("://")
        options["endpoint_override"] = host.rstrip("/")
        options["scheme"] = kind if mark else "https"
    return fs.S3FileSystem(connect_timeout=20, request_timeout=120, **options)


def _minio_client() -> Any:
    from minio import Minio

    endpoint = os.environ.get("MINIO_ENDPOINT", "")
    if not endpoint:
        raise EdgelineError("MINIO_ENDPOINT is not set: minio:// needs it, for example minio:9000.")
    kind, _, host = endpoint.rpartition("://")
    secure = os.environ.get("MINIO_SECURE", "true" if kind != "http" else "false")
    return Minio(
        host.rstrip("/"),
        access_key=os.environ.get("MINIO_ACCESS_KEY"),
        secret_key=os.environ.get("MINIO_SECRET_KEY"),
        secure=secure.lower() in ("1", "true", "yes"),
    )


def _http_filesystem() -> Any:
    import aiohttp
    import fsspec

    # fsspec would end a download after five minutes; only silence is a failure
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    return fsspec.filesystem(
        "http",
        client_kwargs={"timeout": timeout, "trust_env": True},
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def _check_pin(given: str, pin: str, found: str) -> None:
    if pin and pin != found:
        raise EdgelineError(
            f"{_public(given)} has the sha256 {found}, but {pin} is pinned: "
            "give the pinned content or renew the pin."
        )


def _failure(location: str, error: Exception) -> EdgelineError:
    """What a client's exception means to a reader."""
    if isinstance(error, EdgelineError):
        return error
    if _scheme(location) in ("http", "https") and isinstance(error.__cause__, Exception):
        error = error.__cause__  # to fsspec every failure is a file that is not found
    place = _public(location)
    status = getattr(error, "status", None)
    text = str(error).replace(location, place)
    if re.search(r"no.?such.?bucket|bucket '.*' not found", text, re.IGNORECASE):
        return _no_bucket(place)
    if (
        isinstance(error, PermissionError)
        or status in (401, 403)
        or re.search(
            r"access.?denied|forbidden|InvalidAccessKeyId|SignatureDoesNotMatch|unauthori[sz]ed"
            r"|permission.?denied|HTTP response code 40[13]",
            text,
            re.IGNORECASE,
        )
    ):
        return EdgelineError(f"No permission to read {place}: check the credentials.")
    if isinstance(error, FileNotFoundError) or status == 404 or "NoSuchKey" in text:
        return EdgelineError(f"{place} does not exist: check the location.")
    if isinstance(error, ImportError):
        return EdgelineError(f"{place} needs {error.name}: install edgeline[pipelines].")
    reason = (
        f"HTTP {status}" if status else f"{type(error).__name__}: {' '.join(text.split())}"[:250]
    )
    return EdgelineError(
        f"{place} could not be read to its end ({reason}): "
        "check the network and the endpoint, then run again."
    )


def _no_bucket(place: str) -> EdgelineError:
    return EdgelineError(f"The bucket of {place} does not exist: check its name and endpoint.")
