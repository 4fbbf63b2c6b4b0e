"""Header blocks of HTTP/2 (RFC 7541), and those that are remembered.

A client's calls differ in little but the message, so most blocks are byte for byte like an earlier
one. What a block means depends on the connection's dynamic table: only blocks that left the table
as it was are remembered, and all are forgotten as soon as one changes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgeline.server.digits import whole
from edgeline.server.http.frames import COMPRESSION, BrokenError, MalformedError
from edgeline.server.http.grpc_call import is_grpc
from edgeline.server.http.host import is_host

_REMEMBERED, _SHORT = 64, 2048  # blocks, and bytes of one
PER_HEADER = 32  # bytes that RFC 7541, section 4.1, counts beside a name and a value
HELD_PER_HEADER = 96  # bytes that it takes here beside them: two objects and their place in a table
# RFC 9113, sections 8.2.1 and 8.3: a name in upper case would pass whoever looks for it in lower
_NAME = re.compile(rb":(authority|method|path|scheme)|[!#$%&'*+.^_`|~0-9a-z-]+")
_NOT_IN_VALUES = re.compile(rb"[\0\r\n]|^[ \t]|[ \t]$")
# what HTTP/1.1 says of its connection (RFC 9113, section 8.2.2)
_OF_HTTP1 = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}


@dataclass(frozen=True)
class Block:
    """A header block, which is not to be changed, for the next call may get the same.

    Attributes:
        headers: names in lower case and values, several of one name joined by commas.
        size: bytes that this block alone holds.
        is_request: whether a request can begin with it (RFC 9113, section 8.3.1).
        is_grpc: whether that is a gRPC call.
        not_a_host: which of its headers does not name a host as `host.is_host` has it; "" for none.
        announced: bytes of the body, where it says how many.
    """

    headers: dict[str, str]
    size: int
    is_request: bool
    is_grpc: bool
    not_a_host: str
    announced: int | None


class Headers:
    """The header blocks that one connection receives."""

    def __init__(self, largest: int) -> None:
        import hpack  # 5 MB that a server without gRPC clients does without

        self._decoder = hpack.Decoder(max_header_list_size=largest)
        self._malformed: type[Exception] = hpack.HPACKError
        self._known: dict[bytes, Block] = {}

    def decode(self, data: bytes) -> Block | None:
        """What a block says; None where it is malformed, at which its stream alone ends.

        Raises:
            BrokenError: it cannot be read.
        """
        if (known := self._known.get(data)) is not None:
            return known
        table = self._decoder.header_table.dynamic_entries
        before = (len(table), table[0] if table else None, self._decoder.header_table_size)
        try:
            pairs = self._decoder.decode(data, raw=True)
        except (self._malformed, IndexError) as error:
            raise BrokenError(COMPRESSION, "a header cannot be read") from error
        after = (len(table), table[0] if table else None, self._decoder.header_table_size)
        changed = before[0] != after[0] or before[1] is not after[1] or before[2] != after[2]
        if changed:
            self._known.clear()
        try:
            block = _block(pairs)
        except MalformedError:
            return None
        if not changed and len(data) <= _SHORT and block.size <= _SHORT:
            if len(self._known) >= _REMEMBERED:  # of a client that says something else each time
                self._known.clear()
            self._known[data] = replace(block, size=0)
        return block


def _block(pairs: Iterable[tuple[bytes, bytes]]) -> Block:
    headers: dict[str, str] = {}
    size, regular = 0, False
    for raw_name, raw_value in pairs:
        if not _NAME.fullmatch(raw_name) or _NOT_IN_VALUES.search(raw_value):
            raise MalformedError("a header's name or value is not one of HTTP/2")
        name, value = bytes(raw_name).decode("ascii"), bytes(raw_value).decode("latin-1")
        size += len(name) + len(value) + HELD_PER_HEADER
        if name[0] == ":":
            if name in headers or regular:
                raise MalformedError(f"{name} is given twice, or after other headers")
        elif name in _OF_HTTP1 or (name == "te" and value.lower() != "trailers"):
            raise MalformedError(f"{name} is a header of HTTP/1.1")
        else:
            regular = True
            if name in headers:
                value = f"{headers[name]}, {value}"
        headers[name] = value
    announced = None
    if (length := headers.get("content-length")) is not None:
        announced = whole(length.encode("latin-1"), 20)
        if announced is None:
            raise MalformedError("content-length is not a number of bytes")
    not_a_host = next((n for n in (":authority", "host") if not is_host(headers.get(n, ""))), "")
    is_request = _is_request(headers)
    return Block(headers, size, is_request, is_grpc(headers), not_a_host, announced)


def _is_request(headers: dict[str, str]) -> bool:
    host = headers.get("host")
    if host is not None and host.lower() != headers.get(":authority", host).lower():
        return False  # for two hosts
    return bool(headers.get(":method") and headers.get(":scheme") and headers.get(":path"))
