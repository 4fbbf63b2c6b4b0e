"""What came from elsewhere: a web page of another site, or through a proxy.

Without tokens a call is trusted for the machine that it comes from. A browser on that machine also
runs other sites' pages, and a proxy on it hands on what anybody sends, so three things are looked
at: what a browser says of the page (`Origin`, `Sec-Fetch-Site`), the name that was asked for
(`Host` or `:authority`: a page can point a name of its own at 127.0.0.1, but no address and no
`localhost`), and headers that only a proxy adds. A client that is not a browser sends none of it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# names that proxies, load balancers and content delivery networks add; "_" is read as "-", as some
# backends do
_FORWARDED = re.compile(
    r".*(forward|proxy|client-?ip|real-?(ip|port)|src-ip|source-ip).*"
    r"|(.+-)?via|cdn-.*|x-original-.*|x-envoy-.*|cf-.*|l5d-.*|(x-)?remote-(ip|addr)"
    r"|x-originating-(ip|addr)|x-azure-.*|x-appengine-.*|x-arr-.*|x-(host|scheme|port|protocol)"
    r"|cloudfront-.*|fastly-.*|fly-.*|tailscale-.*|(x-)?akamai-.*|x-nginx-.*|x-sucuri-.*"
    r"|x-vercel-.*|incap-.*|x-varnish|x-amz-cf-.*|x-amzn-.*|x-cloud-trace-context|x-accel-.*"
    r"|front-end-https|x-url-scheme|x-rewrite-url|x-http-host-override|surrogate-.*|x-kong-.*"
    r"|(x-)?ssl-.*|(x-)?client-(cert|verify|dn|subject|issuer|serial|san).*"
    r"|(x-)?remote-(user|groups)|x-auth-request-.*|x-goog-(iap|authenticated)-.*"
    r"|x-ms-client-principal.*"
)
_ORIGIN = re.compile(r"(https?)://([^/?#@]+)", re.IGNORECASE)
# an IPv6 address without a zone, which only the machine that gave it understands
_HOST = re.compile(
    r"(\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?))(:(?P<port>[0-9]{0,5}))?",
    re.I | re.ASCII,
)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def reason(headers: Mapping[Any, Any], local: bool, names: frozenset[str], scheme: str) -> str:
    """What says that a request came from elsewhere, as `Origin: https://a.example`; empty for
    nothing.

    Args:
        headers: of HTTP (bytes) or of gRPC (str), names in lower case.
        local: whether the name has to be one of this machine's own loopback; else any address
            may be asked for, too.
        names: other names that may be asked for, in lower case, where any address may.
        scheme: of the connection, `http` or `https`: a page that came by the other one came from
            elsewhere.
    """
    given = dict(_text(headers))
    hosts = [given[name] for name in (":authority", "host") if given.get(name)]
    for name, value in given.items():
        if _FORWARDED.fullmatch(name.replace("_", "-")):
            return f"{name}: {value}"
    if given.get("sec-fetch-site", "none").lower() not in ("none", "same-origin"):
        return f"Sec-Fetch-Site: {given['sec-fetch-site']}"
    origin = given.get("origin")
    if origin is not None and not any(_is_of(origin, host, scheme) for host in hosts):
        return f"Origin: {origin}"
    if not hosts:
        return "Host: (none)"
    for host in hosts:
        if not _is_own(host, local, names):
            return f"Host: {host}"
    return ""


def own_names(given: Iterable[str]) -> frozenset[str]:
    """What this server may be called: this machine's name and those that were given."""
    names = (socket.gethostname(), *given)
    return frozenset(name.lower().removesuffix(".") for name in names if name)


def _is_of(origin: str, host: str, scheme: str) -> bool:
    """Whether an origin, as `http://localhost:8080`, is the server that was asked for."""
    found = _ORIGIN.fullmatch(origin)
    if found is None or found[1].lower() != scheme:  # an extension's, a proxy's, or "null"
        return False
    authority, default = found[2], _DEFAULT_PORTS[scheme]
    return authority.lower().removesuffix(default) == host.lower().removesuffix(default)


def _is_own(host: str, local: bool, names: frozenset[str]) -> bool:
    found = _HOST.fullmatch(host)
    if found is None or int(found["port"] or 0) > 65535:
        return False
    if found["v6"]:
        try:
            return _is_address(ipaddress.IPv6Address(found["v6"]), local)
        except ValueError:
            return False
    name = found["name"].lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return _is_address(ipaddress.IPv4Address(name), local)
    except ValueError:
        return not local and name in names


def _is_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, local: bool) -> bool:
    mapped = getattr(address, "ipv4_mapped", None) or address
    return not local or mapped.is_loopback or mapped.is_unspecified


def _text(headers: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if isinstance(name, bytes):
            yield name.decode("latin-1"), bytes(value).decode("latin-1").strip(" \t")
        else:
            yield name, value.strip(" \t")
