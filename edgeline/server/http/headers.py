"""Header blocks of HTTP/2 (RFC 7541), and those that are remembered.

A client's calls differ in little but the message, so most blocks are byte for byte like an earlier
one. What a block means depends on the connection's dynamic table: only blocks that left the table
as it was are remembered, and all are forgotten as soon as one changes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgeline.server.http.frames import COMPRESSION, BrokenError, MalformedError

_REMEMBERED = 64
# RFC 9113, sections 8.2.1 and 8.3: a name in upper case would pass whoever looks for it in lower
_NAME = re.compile(rb":(authority|method|path|scheme)|[!#$%&'*+.^_`|~0-9a-z-]+")
_NOT_IN_VALUES = re.compile(rb"[\0\r\n]")


class Headers:
    """The header blocks that one connection receives."""

    def __init__(self, largest: int) -> None:
        import hpack  # 5 MB that a server without gRPC clients does without

        self._decoder = hpack.Decoder(max_header_list_size=largest)
        self._malformed: type[Exception] = hpack.HPACKError
        self._known: dict[bytes, dict[str, str]] = {}

    def decode(self, block: bytes) -> dict[str, str]:
        """Names in lower case and values, several of one name joined by commas; not to be changed,
        for the next call may get the same.

        Raises:
            BrokenError: it cannot be read.
            MalformedError: a name or value is none that HTTP/2 takes.
        """
        if (known := self._known.get(block)) is not None:
            return known
        table = self._decoder.header_table.dynamic_entries
        before = (len(table), table[0] if table else None, self._decoder.header_table_size)
        try:
            pairs = self._decoder.decode(block, raw=True)
        except (self._malformed, IndexError) as error:
            raise BrokenError(COMPRESSION, "a header cannot be read") from error
        after = (len(table), table[0] if table else None, self._decoder.header_table_size)
        if before[0] != after[0] or before[1] is not after[1] or before[2] != after[2]:
            self._known.clear()
            return _joined(pairs)
        headers = _joined(pairs)
        if len(self._known) >= _REMEMBERED:  # of a client that says something else each time
            self._known.clear()
        self._known[block] = headers
        return headers


def _joined(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        if not _NAME.fullmatch(raw_name) or _NOT_IN_VALUES.search(raw_value):
            raise MalformedError("a header's name or value is not one of HTTP/2")
        name, value = bytes(raw_name).decode("ascii"), bytes(raw_value).decode("latin-1")
        if name in headers:
            if name.startswith(":"):
                raise MalformedError(f"{name} is given twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers
