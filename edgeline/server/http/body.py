"""A request's body while it comes, in pieces of any size."""

from __future__ import annotations

_SMALL = 4096  # bytes of a piece that is joined to the one before: an object each costs more
_JOINED = 1 << 16


class ReceivedBody:
    """What came so far; `size` is its bytes, also of what is not kept any more."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        """The next piece."""
        parts = self._parts
        self.size += len(data)
        if not parts or len(data) >= _SMALL:
            parts.append(data)
        elif isinstance(parts[-1], bytearray) and len(parts[-1]) < _JOINED:
            parts[-1] += data
        else:
            parts.append(bytearray(data))

    def take(self) -> bytes:
        """All of it, which is not kept here any more."""
        parts, self._parts = self._parts, []
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def clear(self) -> None:
        """Keep nothing."""
        self._parts = []
