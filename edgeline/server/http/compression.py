"""Compressed requests, decompressed up to a limit, so that a small one cannot fill the memory."""

from __future__ import annotations

import zlib
from typing import Any

from edgeline.server.errors import Code, ServingError, invalid

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_HEAD = 1024  # bytes that stand before what is compressed, as a file's name


def decompress(data: bytes, coding: str, limit: int) -> bytes:
    """Undo a content coding.

    Raises:
        ServingError: the coding is unknown, the data damaged, or larger than `limit`.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return data
    decoder = _decoder(coding)
    plain = _decompressed(decoder, data, coding, limit + 1)
    if len(plain) > limit:
        message = f"The body is larger than {limit} bytes."
        raise ServingError(Code.INVALID_ARGUMENT, message, 413)
    if not decoder.eof:
        raise invalid(f"The body is not {coding} (it ends early).")
    return plain


def beginning(data: memoryview, coding: str, size: int) -> bytes:
    """Undo a coding for the first bytes alone, `size` at most.

    Raises:
        ServingError: the coding is unknown, or the data damaged.
    """
    return _decompressed(_decoder(coding), data[: size + _HEAD], coding, size)


def _decoder(coding: str) -> Any:
    if coding not in _WINDOW_BITS:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Encoding {coding[:40]!r} is not read here: send gzip.", 415
        )
    return zlib.decompressobj(_WINDOW_BITS[coding])


def _decompressed(decoder: Any, data: bytes | memoryview, coding: str, most: int) -> bytes:
    try:
        plain: bytes = decoder.decompress(data, most)
    except zlib.error as error:
        raise invalid(f"The body is not {coding} ({error}).") from None
    return plain
