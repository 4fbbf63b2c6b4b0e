"""What came from elsewhere: a web page of another site, or through a proxy.

Without tokens a call is trusted for the machine that it comes from. A browser on that machine also
runs other sites' pages, and a proxy on it hands on what anybody sends, so three things are looked
at: what a browser says of the page (`Origin`, `Sec-Fetch-Site`), the name that was asked for
(`Host` or `:authority`: a page can point a name of its own at 127.0.0.1, but no address and no
`localhost`), and headers that only a proxy adds. A client that is no browser sends none of it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_FORWARDED = re.compile(
    r"(x-)?forward(ed)?(-.*)?|via|cdn-loop|x-original-.*|x-envoy-.*|x-proxy.*|x-real-ip"
    r"|(x-|wl-proxy-|true-|x-cluster-|fastly-|fly-)?client-ip|cf-.*|l5d-.*|k-proxy-request"
    r"|x-(remote|originating)-(ip|addr)|x-azure-.*|x-appengine-.*"
)
_PORT = re.compile(r":[0-9]*")


def reason(headers: Mapping[Any, Any], local: bool, names: frozenset[str]) -> str:
    """What says that a request came from elsewhere, as `Origin: https://a.example`; empty for
    nothing.

    Args:
        headers: of HTTP (bytes) or of gRPC (str), names in lower case.
        local: whether the name has to be one of this machine's own loopback; else any address
            may be asked for, too.
        names: other names that may be asked for, in lower case, where any address may.
    """
    given = dict(_text(headers))
    hosts = [given[name] for name in (":authority", "host") if given.get(name)]
    for name, value in given.items():
        if _FORWARDED.fullmatch(name.replace("_", "-")):  # as some proxies' backends take it
            return f"{name}: {value}"
    if given.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return f"Sec-Fetch-Site: {given['sec-fetch-site']}"
    origin = given.get("origin")
    if origin is not None and origin.partition("://")[2].lower() not in map(str.lower, hosts):
        return f"Origin: {origin}"
    for host in hosts:
        if not _is_own(host, local, names):
            return f"Host: {host}"
    return ""


def own_names(given: Iterable[str]) -> frozenset[str]:
    """What this server may be called: this machine's name and those that were given."""
    names = (socket.gethostname(), *given)
    return frozenset(name.lower().removesuffix(".") for name in names if name)


def _is_own(host: str, local: bool, names: frozenset[str]) -> bool:
    bracketed, bracket, port = host.rpartition("]")
    if bracket:
        name = bracketed.removeprefix("[")
    else:
        name, colon, digits = host.partition(":")
        port = colon + digits
    name = name.lower().removesuffix(".")
    if port and not _PORT.fullmatch(port):
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return not local and name in names
    mapped = getattr(address, "ipv4_mapped", None) or address
    return not local or mapped.is_loopback or mapped.is_unspecified


def _text(headers: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if isinstance(name, bytes):
            yield name.decode("latin-1"), bytes(value).decode("latin-1").strip()
        else:
            yield name, value.strip()
