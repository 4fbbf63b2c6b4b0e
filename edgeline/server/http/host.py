"""Whom a client means to ask: `Host`, and HTTP/2's `:authority`.

Either is a host, and perhaps a port (RFC 3986, section 3.2, without the user information that RFC
9110 and RFC 9113 forbid). Whether the server goes by that name is `edgeline.server.foreign`'s.
"""

from __future__ import annotations

import re

from edgeline.server.errors import ServingError, invalid

# what RFC 3986 lets a host be, and a port
_FORM = re.compile(r"(\[[\w:.~!$&'()*+,;=-]+\]|[\w.~%!$&'()*+,;=-]*)(:[0-9]*)?", re.ASCII)


def is_host(value: str) -> bool:
    """Whether a header's value has the form of a host with or without a port; an empty one has."""
    return _FORM.fullmatch(value.strip(" \t")) is not None


def not_a_host(name: str) -> ServingError:
    """The refusal of a request whose header of this name is not one."""
    return invalid(f"{name} is not the name or address of a server, with its port or without.")
