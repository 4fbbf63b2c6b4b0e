"""Compressed requests, decompressed up to a limit, so that a small one cannot fill the memory."""

from __future__ import annotations

import zlib

from edgeline.server.errors import Code, ServingError, invalid

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def decompress(data: bytes, coding: str, limit: int) -> bytes:
    """Undo a content coding.

    Raises:
        ServingError: the coding is unknown, the data damaged, or larger than `limit`.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return data
    if coding not in _WINDOW_BITS:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Encoding {coding[:40]!r} is not read here: send gzip.", 415
        )
    decoder = zlib.decompressobj(_WINDOW_BITS[coding])
    try:
        plain = decoder.decompress(data, limit + 1)
    except zlib.error as error:
        raise invalid(f"The body is not {coding} ({error}).") from None
    if len(plain) > limit:
        message = f"The body is larger than {limit} bytes."
        raise ServingError(Code.INVALID_ARGUMENT, message, 413)
    if not decoder.eof:
        raise invalid(f"The body is not {coding} (it ends early).")
    return plain
