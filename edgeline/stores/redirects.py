"""Requests by the standard library that strangers cannot lead into a network that is not theirs.

A server answers with an address that is to be asked instead. From a public server such an address
may be this machine, its neighbours or a cloud's metadata service, which tells credentials to
whoever asks from within. So a request is led on to an address that is not public only where the
first was of that kind: looked at once the connection stands, since a name may be resolved to
another address a moment later, and before anything is sent. A proxy decides itself; there only
addresses that are written out are looked at.

Only `http` and `https` are opened: the standard library's own opener also takes `file` and `ftp`.
"""

from __future__ import annotations

import functools
import http.client
import ipaddress
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from edgeline.errors import EdgelineError

PUBLIC = "public"
# what else the first address allows, beside public ones and those of its own kind
_ALSO = {"loopback": ("private",)}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_FIRST = "_edgeline_first"  # of a request: the kind of the first address


class RedirectError(EdgelineError):
    """A server leads on to an address that is nobody else's to name."""


def urlopen(request: urllib.request.Request | str, timeout: float, first: str | None = None) -> Any:
    """As `urllib.request.urlopen`.

    Args:
        timeout: seconds without a byte.
        first: the kind of the address that named this one (see `first_of`), where that was another
            request; None where this is the first.

    Raises:
        RedirectError: it leads to an address that the first does not allow.
        OSError: as `urllib.request.urlopen`, HTTPError and URLError among them.
    """
    if isinstance(request, str):
        request = urllib.request.Request(request)
    if first is not None:
        setattr(request, _FIRST, first)
        _check_written(request.full_url, first)
    return _opener().open(request, timeout=timeout)


def first_of(request: urllib.request.Request) -> str:
    """The kind of the address that answered a request first; `public` where a proxy did."""
    return str(getattr(request, _FIRST, PUBLIC))


def kind(address: str) -> str:
    """Of an IP address: `loopback`, `link-local`, `private` (whatever else not everybody reaches)
    or `public`."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        found = inner or found
    if found.is_loopback or found.is_unspecified:
        return "loopback"
    if found.is_link_local:
        return "link-local"
    local = found.is_multicast or getattr(found, "is_site_local", False)
    return PUBLIC if found.is_global and not local else "private"


def check(url: str, address: str, first: str) -> None:
    """Refuse an address that a URL leads to, where the first of the requests does not allow it.

    Raises:
        RedirectError: it names the address.
    """
    found = kind(address)
    if found not in (PUBLIC, first, *_ALSO.get(first, ())):
        raise RedirectError(
            f"A server leads on to {urlsplit(url).netloc.rpartition('@')[2]}, which is {address}, "
            f"a {found} address: it is not followed there from a {first} one; name the address "
            "itself if it is meant."
        )


def _check_written(url: str, first: str) -> None:
    with suppress(ValueError):  # a name
        check(url, str(ipaddress.ip_address(urlsplit(url).hostname or "")), first)


def _look(connection: http.client.HTTPConnection, request: urllib.request.Request) -> None:
    """Look where a connection leads, before anything is sent."""
    if request.has_proxy() or getattr(request, "_tunnel_host", None):
        return
    address = str(connection.sock.getpeername()[0])
    first = getattr(request, _FIRST, None)
    if first is None:
        setattr(request, _FIRST, kind(address))
        return
    try:
        check(request.full_url, address, first)
    except RedirectError:
        connection.close()
        raise


class _Http(http.client.HTTPConnection):
    def __init__(self, request: urllib.request.Request, host: str, **options: Any) -> None:
        super().__init__(host, **options)
        self._asking = request

    def connect(self) -> None:
        super().connect()
        _look(self, self._asking)


class _Https(_Http, http.client.HTTPSConnection):
    """As `_Http`, once TLS is there."""


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_Http, req), req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        context = getattr(self, "_context", None)
        return self.do_open(functools.partial(_Https, req), req, context=context)


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: urllib.request.Request, *rest: Any) -> Any:
        further = super().redirect_request(req, *rest)
        if further is not None:
            first = first_of(req)
            _check_written(further.full_url, first)
            setattr(further, _FIRST, first)
        return further


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in _handlers():
        opener.add_handler(handler)
    return opener


def _handlers() -> Iterator[urllib.request.BaseHandler]:
    yield urllib.request.ProxyHandler()
    yield urllib.request.UnknownHandler()
    yield urllib.request.HTTPDefaultErrorHandler()
    yield urllib.request.HTTPErrorProcessor()
    yield from (_HttpHandler(), _HttpsHandler(), _RedirectHandler())
