"""Bytes of a signed repository, from where they are wanted: nothing but the standard library.

| location                | endpoint and credentials from                                          |
|-------------------------|------------------------------------------------------------------------|
| path, `file://`         |                                                                        |
| `http://`, `https://`   | the URL; proxies as usual                                              |
| `s3://`, `minio://`     | `edgeline.stores.endpoints` and `access`; without keys and identity    |
| `gs://`, `abfs://`      | the bucket is public                                                   |
| `file.zip`              | what a push brings: the repository's files, as below its folder        |

What is fetched is not trusted here: that is `synchronise`'s.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from edgeline.errors import EdgelineError
from edgeline.formats import archives
from edgeline.stores.access import StoreAccess, access
from edgeline.stores.endpoints import STORES, web_address

SILENCE = 30.0  # seconds without a byte after which a connection is given up
PIECE = 1 << 18


class UnreachableError(EdgelineError):
    """The repository does not answer now: try again later."""


class MissingError(EdgelineError):
    """The repository answers that there is no such file (or that it may not be seen)."""


class Origin(Protocol):
    """A repository's files by their path in it."""

    def open(self, path: str, offset: int = 0) -> tuple[BinaryIO, int]:
        """A stream of a file and the byte that it begins with: `offset`, or 0.

        Args:
            path: quoted as in a URL, so that a role's name may hold a slash.

        Raises:
            MissingError: there is no such file.
            UnreachableError: the repository does not answer.
        """


def origin(location: str) -> Origin:
    """The files of a location.

    Raises:
        EdgelineError: a location of this kind cannot be read.
    """
    scheme, mark, rest = location.partition("://")
    scheme = scheme.lower() if mark else ""
    if scheme in ("", "file"):
        path = Path(unquote(rest) if mark else location)
        return ZipOrigin(path) if path.suffix == ".zip" else FolderOrigin(path)
    if scheme in ("http", "https"):
        if "@" in urlsplit(location).netloc:
            raise EdgelineError("The repository's address holds a password: leave it out.")
        return WebOrigin(location.rstrip("/"))
    if scheme in STORES and rest.strip("/"):
        place = f"{scheme}://{rest}"
        return WebOrigin(web_address(place), access(place))
    raise EdgelineError(
        f"{location} is not a repository: give a folder, https://, s3://, gs://, abfs:// or "
        "minio://."
    )


@dataclass(frozen=True)
class FolderOrigin:
    """Files below a folder."""

    root: Path

    def open(self, path: str, offset: int = 0) -> tuple[BinaryIO, int]:
        path = _plain(path)
        try:
            stream = open(self.root / path, "rb")  # noqa: SIM115 - the caller closes it
        except (FileNotFoundError, NotADirectoryError):
            if not self.root.is_dir():
                raise UnreachableError(f"{self.root} is not there: is it mounted?") from None
            raise MissingError(f"{self.root / path} does not exist.") from None
        except OSError as error:
            raise UnreachableError(
                f"{self.root / path} cannot be read ({error.strerror})."
            ) from error
        stream.seek(offset)
        return stream, offset


@dataclass(frozen=True)
class ZipOrigin:
    """Members of an archive; nothing is unpacked, so no member can lie outside."""

    file: Path

    def open(self, path: str, offset: int = 0) -> tuple[BinaryIO, int]:  # noqa: ARG002
        path = _plain(path)
        try:
            archive = archives.open_zip(self.file, "The archive")
            return io.BufferedReader(archive.open(path)), 0  # type: ignore[type-var]
        except KeyError:
            raise MissingError(f"The archive has no {path}.") from None
        except archives.DAMAGED as error:
            raise EdgelineError(f"The archive cannot be read ({error}).") from error


@dataclass(frozen=True)
class WebOrigin:
    """Files below a URL; with an access each request is somebody's."""

    url: str
    access: StoreAccess | None = None

    def open(self, path: str, offset: int = 0) -> tuple[BinaryIO, int]:
        import urllib.error
        import urllib.request

        from edgeline.stores import redirects

        url = f"{self.url}/{path}"
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
        if self.access is not None:
            try:
                request.full_url, own = self.access.request("GET", url)
            except EdgelineError as error:  # an identity that is refused now may not be later
                raise UnreachableError(str(error)) from error
            for name, value in own.items():  # for nobody to whom the store leads on
                request.add_unredirected_header(name, value)
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        with explained(url):
            try:
                answer = redirects.urlopen(request, timeout=SILENCE)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 416:  # what is there is no beginning of it
                    return self.open(path)
                answered = f"{url} answers {error.code}{_clock(error.headers.get('Date'))}."
                if error.code in (403, 404):
                    raise MissingError(answered) from None
                raise UnreachableError(answered) from None
        begins = re.match(r"bytes (\d{1,18})-", answer.headers.get("Content-Range") or "")
        return answer, int(begins[1]) if answer.status == 206 and begins else 0


def _plain(path: str) -> str:
    """A quoted path as files have it.

    Raises:
        MissingError: a name in it is none of a file, but perhaps of a delegated role.
    """
    names = [unquote(name) for name in path.split("/")]
    if any("/" in name or name == ".." for name in names):
        raise MissingError(f"{path} is not a file of the repository.")
    return "/".join(names)


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what a connection can raise into `UnreachableError`."""
    try:
        yield
    except Exception as error:
        # imported where they are needed: 3 MB that a server which fetches nothing does without
        import http.client
        import urllib.error

        if isinstance(error, urllib.error.URLError):
            now = _now().isoformat(" ", "minutes")
            late = re.search("expired|not yet valid", str(error.reason))  # a certificate
            clock = f"; by this device's clock it is {now}" if late else ""
            raise UnreachableError(f"{what} cannot be reached ({error.reason}){clock}.") from error
        if isinstance(error, (TimeoutError, ConnectionError, http.client.HTTPException)):
            fault = str(error) or type(error).__name__
            raise UnreachableError(f"The connection to {what} broke ({fault}).") from error
        if isinstance(error, archives.TORN):
            raise EdgelineError(f"{what} in the archive is damaged ({error}).") from error
        raise


def _clock(date: str | None) -> str:
    """A hint where this device's clock and that of a server differ by more than a quarter of an
    hour, from where on stores refuse what is signed."""
    from email.utils import parsedate_to_datetime

    with contextlib.suppress(TypeError, ValueError):
        now, there = _now(), parsedate_to_datetime(date or "")
        if abs(now - there) > timedelta(minutes=15):
            return (
                f"; by its clock it is {there.isoformat(' ', 'minutes')} and by this device's "
                + now.isoformat(" ", "minutes")
            )
    return ""


def _now() -> datetime:
    return datetime.now(timezone.utc)
