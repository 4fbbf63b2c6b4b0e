"""A bucket of Google Cloud Storage, or a container of Azure Blob Storage.

obstore makes the requests; who asks comes from `edgeline.stores.access`, again and again while an
upload lasts. It looks at variables of its own (`AZURE_STORAGE_ACCOUNT_NAME`, ...) for what it is
not told, so it is told everything.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore

from edgeline.errors import EdgelineError
from edgeline.stores import access, objects
from edgeline.stores.again import BUSY, PassingError
from edgeline.stores.endpoints import AZURE, container, endpoint
from edgeline.stores.identity.lease import Ends, Lease
from edgeline.stores.objects import ObjectEntry

PART = 8 << 20  # bytes sent or received at once
PARTS = 4  # sent at the same time
WHOLE = timedelta(hours=1)  # the longest that one request may take
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
CODE = re.compile(r"<Code>(\w{1,80})</Code>")
STATUS = re.compile(r"status code: (\d{3})")
CAUSE = re.compile(
    r"(invalid peer certificate: \w+|connection refused|connection reset|timed out|dns error)",
    re.IGNORECASE,
)
NOBODY = ("client error", "error sending request", "connection", "timed out", "timeout", "dns")


def connect(scheme: str, bucket: str, anonymous: bool) -> CloudObjects:
    """See `edgeline.stores.buckets.open_bucket`."""
    place = f"{scheme}://{bucket}"
    if scheme == AZURE:
        return _azure(place, anonymous)
    store = endpoint(scheme)
    who = _Identity(access.google_token(store))
    if not who.token and not anonymous and store.variable != "STORAGE_EMULATOR_HOST":
        raise EdgelineError(access.missing(place))
    try:
        client = GCSStore(
            bucket,
            config={"base_url": store.url, "skip_signature": not who.token},
            credential_provider=who,  # type: ignore[arg-type]
            **_options(store.secure),
        )
    except (BaseError, ValueError) as error:
        raise EdgelineError(f"{place} cannot be used ({_first_line(error)}).") from None
    return CloudObjects(scheme, bucket, store.url, client, who)


def _azure(place: str, anonymous: bool) -> CloudObjects:
    found = container(place)
    signature, key = access.azure_signature(), access.azure_key()
    who = _Identity(None if signature or key else access.azure_token(place))
    if signature:
        who.fixed = {"sas_token": signature, "expires_at": None}
    elif key:
        who.fixed = {"access_key": key, "expires_at": None}
    nobody = not (who.token or who.fixed)
    if nobody and not anonymous:
        raise EdgelineError(access.missing(place))
    try:
        client = AzureStore(
            found.name,
            config={
                "account_name": found.account,
                "endpoint": found.service,
                "use_emulator": False,
                "skip_signature": nobody,
            },
            credential_provider=who,  # type: ignore[arg-type]
            **_options(found.service.startswith("https://")),
        )
    except (BaseError, ValueError) as error:
        raise EdgelineError(f"{place} cannot be used ({_first_line(error)}).") from None
    return CloudObjects(AZURE, place.partition("://")[2], found.service, client, who)


def _options(secure: bool) -> dict[str, Any]:
    client: dict[str, Any] = {
        "allow_http": not secure,
        "connect_timeout": timedelta(seconds=objects.CONNECT_TIMEOUT),
        "read_timeout": timedelta(seconds=objects.READ_TIMEOUT),
        "timeout": WHOLE,
    }
    if authorities := os.environ.get("SSL_CERT_FILE"):
        try:
            client["root_certificate"] = Path(authorities).read_bytes()
        except OSError as error:
            raise EdgelineError(
                f"SSL_CERT_FILE names {authorities}, which cannot be read ({error.strerror})."
            ) from None
    retry = {
        "max_retries": objects.RETRIES,
        "retry_timeout": WHOLE,
        "backoff": {
            "init_backoff": timedelta(seconds=0.2),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
    }
    return {"client_options": client, "retry_config": retry}


class _Identity:
    """What obstore asks for each request; it keeps an answer as long as that counts.

    obstore tells of a failure here in words of its own, so the last one is remembered.
    """

    def __init__(self, token: Callable[[], Lease[str]] | None) -> None:
        self.token = token
        self.fixed: dict[str, Any] = {}
        self.failure: EdgelineError | None = None
        self.ends = Ends()

    def __call__(self) -> dict[str, Any]:
        self.failure = None
        if self.token is None:
            return self.fixed or {"token": "", "expires_at": None}
        try:
            lease = self.token()
        except EdgelineError as error:
            self.failure = error
            raise
        self.ends.add(lease)
        ends = lease.expires
        forever = ends == float("inf")
        until = None if forever else datetime.fromtimestamp(ends, timezone.utc)
        return {"token": lease.value, "expires_at": until}


@dataclass(frozen=True)
class CloudObjects:
    """See `edgeline.stores.objects.Objects`."""

    scheme: str
    bucket: str
    endpoint: str
    client: Any = field(repr=False)
    who: _Identity = field(repr=False)

    def read(self, key: str) -> bytes | None:
        with self._explained(key):
            try:
                return bytes(obstore.get(self.client, key).bytes())
            except FileNotFoundError as error:
                if _code(error) in NO_BUCKET:
                    raise
                return None

    def write(self, key: str, content: bytes, cache_control: str = "") -> None:
        attributes: Any = {"Cache-Control": cache_control} if cache_control else None
        with self._explained(key):
            obstore.put(self.client, key, content, attributes=attributes, use_multipart=False)

    def upload(self, key: str, file: Path) -> None:
        with self._explained(key):
            obstore.put(self.client, key, file, chunk_size=PART, max_concurrency=PARTS)

    def download(self, key: str, file: Path) -> None:
        with self._explained(key), open(file, "wb") as target:
            for piece in obstore.get(self.client, key).stream(PART):
                target.write(piece)

    def below(self, folder: str) -> list[ObjectEntry]:
        with self._explained(folder):
            return [ObjectEntry(e["path"], e["last_modified"]) for e in self._listed(folder)]

    def folders(self, prefix: str) -> list[str]:
        with self._explained(prefix):
            try:
                found = obstore.list_with_delimiter(self.client, prefix.rstrip("/") or None)
            except (FileNotFoundError, PermissionDeniedError):
                return []
        return [f"{each}/" for each in found["common_prefixes"]]

    def has(self, key: str) -> bool:
        with self._explained(key):
            try:
                obstore.head(self.client, key)
            except (FileNotFoundError, PermissionDeniedError):
                return False
        return True

    def remove(self, key: str) -> None:
        with self._explained(key), contextlib.suppress(FileNotFoundError):
            obstore.delete(self.client, key)

    def stream(self, key: str) -> Any:
        with self._readable():
            return _Stream(self, obstore.get(self.client, key).stream(PART))

    def keys(self, prefix: str) -> list[str]:
        with self._readable():
            if prefix:
                with contextlib.suppress(FileNotFoundError, PermissionDeniedError):
                    obstore.head(self.client, prefix)
                    return [prefix]
            return [entry["path"] for entry in self._listed(f"{prefix}/" if prefix else "")]

    def _listed(self, folder: str) -> Iterator[Any]:
        for chunk in obstore.list(self.client, folder.rstrip("/") or None, chunk_size=1000):
            yield from chunk

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn the client's errors, which quote requests, into a sentence."""
        where, begun = f"{self.scheme}://{self.bucket} at {self.endpoint}", time.time()
        try:
            yield
        except FileNotFoundError as error:
            if getattr(error, "filename", None):  # a file of this machine
                raise
            if _code(error) in NO_BUCKET:
                fault = "does not exist: create the bucket or fix the destination."
            else:
                fault = f"lacks {key}, which its manifest lists: publish it again."
            raise EdgelineError(f"{where} {fault}") from None
        except BaseError as error:
            raise self._failure(where, error, begun) from None

    def _failure(self, where: str, error: BaseError, begun: float) -> EdgelineError:
        if self.who.failure is not None:
            return self.who.failure
        what, status = _code(error) or f"status {_status(error)}", _status(error)
        if _code(error) in NO_BUCKET:
            return EdgelineError(
                f"{where} does not exist: create the bucket or fix the destination."
            )
        if _is_refusal(error) and self.who.ends.any_since(begun):  # the next token is another
            return PassingError(f"{where} took too long for a token, which has ended ({what}).")
        if _is_refusal(error):
            return EdgelineError(
                f"{where} refuses this identity ({what}): check who it is and what it may do there."
            )
        if status in BUSY:
            return PassingError(f"{where} is not ready ({what}).")
        if status:
            return EdgelineError(f"{where} answered {what}.")
        if _is_nobody(error):
            return PassingError(
                f"{where} cannot be reached ({_cause(error)}): check the endpoint and the network."
            )
        return EdgelineError(f"{where} cannot be used ({_first_line(error)}).")

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn the client's errors into Python's own."""
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(_code(error)) from None
        except BaseError as error:
            if self.who.failure is not None:
                raise self.who.failure from None
            if _is_refusal(error):
                raise PermissionError(_code(error)) from None
            if _status(error) in BUSY or _is_nobody(error):
                raise ConnectionError(_code(error) or _cause(error)) from None
            raise ValueError(_code(error) or _first_line(error)) from None


class _Stream:
    """An object's bytes by `read(size)`."""

    def __init__(self, objects_: CloudObjects, pieces: Iterator[Any]) -> None:
        self._objects, self._pieces = objects_, iter(pieces)
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        if not self._rest:
            with self._objects._readable():
                self._rest = memoryview(bytes(next(self._pieces, b"")))
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def close(self) -> None:
        self._pieces = iter(())


def _code(error: Exception) -> str:
    found = CODE.search(str(error))
    return found[1] if found else ""


def _status(error: Exception) -> int:
    found = STATUS.search(str(error))
    return int(found[1]) if found else 0


def _is_refusal(error: Exception) -> bool:
    refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
    return refused or _status(error) in (401, 403)


def _is_nobody(error: Exception) -> bool:
    return any(word in str(error).lower() for word in NOBODY)


def _cause(error: Exception) -> str:
    """Why nobody could be asked; the client tells it in the midst of its own objects."""
    found = CAUSE.search(str(error))
    return found[1].strip() if found else "no connection"


def _first_line(error: Exception) -> str:
    """What the client says, without addresses: a signature may be in one."""
    return re.sub(r"https?://\S+", "the store", str(error).partition("\n")[0])[:200]
