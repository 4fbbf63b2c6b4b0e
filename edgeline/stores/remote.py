"""The clients of remote stores: what a location names, opened as a stream, failures in words.

Endpoints and credentials come from the environment (see `edgeline.stores.endpoints`); a client
is imported when it is first needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from edgeline.errors import EdgelineError, UsageError
from edgeline.stores import hub_datasets, redirects
from edgeline.stores.access import s3_keys
from edgeline.stores.again import BUSY, PassingError
from edgeline.stores.buckets import open_bucket
from edgeline.stores.endpoints import STORES, endpoint

PIN = "#sha256="
REQUEST_BYTES = 8 << 20  # asked of an object store at once
NETWORK = ("aiohttp", "http", "urllib3")  # packages whose exceptions are a connection's
STORE_BUSY = ("InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown")  # codes of S3


def scheme(location: str) -> str:
    """`s3` of `s3://bucket/key`; empty for a path."""
    before, mark, _ = location.partition("://")
    return before.lower() if mark else ""


def public(location: str) -> str:
    """A location that may be shown: no password, no signed query."""
    location = location.partition(PIN)[0]
    if scheme(location) in ("http", "https"):
        try:
            parts = urlsplit(location)
        except ValueError:  # half an IPv6 address
            rest = location.partition("://")[2].rpartition("@")[2].partition("?")[0]
            return f"{scheme(location)}://{rest}"
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return location


def list_keys(place: str, prefix: str) -> list[str]:
    """`bucket/key` of every object at or below a prefix, of a store or hf://."""
    store = scheme(place)
    if store == hub_datasets.SCHEME:
        return hub_datasets.keys(f"{hub_datasets.SCHEME}://{prefix}")
    if not _has_own_identity(store):
        return _list_pyarrow(place, prefix)
    bucket, _, key = prefix.partition("/")
    found = open_bucket(store, bucket, anonymous=True).keys(key)
    return [f"{bucket}/{each}" for each in found]


def open_remote(location: str) -> Any:
    """A stream (`read(size)`, `close()`) of one remote object."""
    store = scheme(location)
    path = location.partition("://")[2]
    if store in STORES:
        if not _has_own_identity(store):
            return _pyarrow_filesystem().open_input_stream(path, buffer_size=REQUEST_BYTES)
        bucket, _, key = path.partition("/")
        return open_bucket(store, bucket, anonymous=True).stream(key)
    if store == hub_datasets.SCHEME:
        url, headers = hub_datasets.address(location)
        return _http_filesystem(headers).open(url, mode="rb", block_size=0)
    return _http_filesystem().open(location, mode="rb", block_size=0)  # 0: as a stream


def failure(location: str, error: Exception) -> EdgelineError:
    """What a client's exception means to a reader; a PassingError where it may pass."""
    web = scheme(location) in ("http", "https", "hf")
    if web and isinstance(error.__cause__, Exception) and not isinstance(error, EdgelineError):
        error = error.__cause__  # to fsspec every failure is a file that is not found
    if isinstance(error, EdgelineError):
        return error
    place = public(location)
    status = getattr(error, "status", None)
    text = str(error).replace(location, place)
    if re.search(r"no.?such.?bucket|ContainerNotFound|bucket '.*' not found", text, re.IGNORECASE):
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
        return UsageError(f"{place} does not exist: check the location.")
    if isinstance(error, ImportError):
        return EdgelineError(f"{place} needs {error.name}: install edgeline[pipelines].")
    reason = (
        f"HTTP {status}" if status else f"{type(error).__name__}: {' '.join(text.split())}"[:250]
    )
    return (PassingError if _may_pass(error, status) else EdgelineError)(
        f"{place} could not be read to its end ({reason}): "
        "check the network and the endpoint, then run again."
    )


def _may_pass(error: Exception, status: int | None) -> bool:
    if status:
        return status in BUSY
    if (code := getattr(error, "code", None)) and isinstance(code, str):
        return code in STORE_BUSY
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, (OSError, EOFError)) or package in NETWORK


def _list_pyarrow(place: str, prefix: str) -> list[str]:
    from pyarrow import fs

    filesystem = _pyarrow_filesystem()
    about = filesystem.get_file_info(prefix)
    if about.type == fs.FileType.File:
        return [prefix]
    selector = fs.FileSelector(prefix, allow_not_found=True, recursive=True)
    found = filesystem.get_file_info(selector)
    bucket = prefix.partition("/")[0]
    if not found and filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
        raise _no_bucket(place)
    return [info.path for info in found if info.type == fs.FileType.File]


def _has_own_identity(scheme: str) -> bool:
    """Whether `objects` reads a store; else pyarrow does, which finds what AWS's own clients find:
    profiles of a user, keys of a machine."""
    if scheme != "s3":
        return True
    store = endpoint(scheme)
    return store.credentials is None and s3_keys(store, scheme) is not None


def _pyarrow_filesystem() -> Any:
    from pyarrow import fs

    store = endpoint("s3")
    options: dict[str, object] = {"region": store.region} if store.region else {}
    if store.variable:
        options["endpoint_override"] = store.host
        options["scheme"] = urlsplit(store.url).scheme
    if keys := store.credentials:
        options |= {"access_key": keys.key, "secret_key": keys.secret}
        options |= {"session_token": keys.token} if keys.token else {}
    return fs.S3FileSystem(connect_timeout=20, request_timeout=120, **options)


def _http_filesystem(headers: Mapping[str, str] | None = None) -> Any:
    import aiohttp
    import fsspec

    # fsspec would end a download after five minutes; only silence is a failure
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    return fsspec.filesystem(
        "http",
        client_kwargs={
            "timeout": timeout,
            "trust_env": True,
            "headers": headers,
            "trace_configs": [_watched_redirects()],
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def _watched_redirects() -> Any:
    """What has aiohttp ask `redirects` before it follows one.

    The address is that which the name has now: aiohttp does not say where it has connected to.
    """
    import asyncio
    import socket

    import aiohttp

    async def addresses(url: str) -> list[str]:
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                parts.hostname, parts.port or parts.scheme, type=socket.SOCK_STREAM
            )
        except OSError:  # whoever connects says so; behind a proxy nobody else knows names
            return []
        return [str(entry[4][0]) for entry in found]

    async def on_redirect(_: object, context: Any, about: Any) -> None:
        if not hasattr(context, "first"):
            kinds = [redirects.kind(address) for address in await addresses(str(about.url))]
            context.first = kinds[0] if kinds else redirects.PUBLIC
        headers = about.response.headers
        further = urljoin(str(about.url), headers.get("Location") or headers.get("URI") or "")
        for address in await addresses(further):
            redirects.check(further, address, context.first)

    made = aiohttp.TraceConfig()
    made.on_request_redirect.append(on_redirect)
    return made


def _no_bucket(place: str) -> EdgelineError:
    return UsageError(f"The bucket of {place} does not exist: check its name and endpoint.")
