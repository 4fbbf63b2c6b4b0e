"""How a request of HTTP/1.1 says that it has a body, and how long it is (RFC 9112, section 6)."""

from __future__ import annotations

from collections.abc import Mapping

from edgeline.server.digits import whole
from edgeline.server.errors import Code, ServingError, invalid


def announced(headers: Mapping[bytes, bytes], version: str) -> int:
    """Bytes of the body that Content-Length announces; 0 for one in chunks, or none.

    Args:
        headers: names in lower case.
        version: of HTTP, `1.0` or `1.1`.

    Raises:
        ServingError: the length is none, or the body is coded otherwise than in chunks (501).
    """
    if (codings := headers.get(b"transfer-encoding")) is not None:
        if version == "1.0":
            raise invalid("HTTP/1.0 has no Transfer-Encoding: ask by HTTP/1.1.")
        if codings.strip(b" \t").lower() != b"chunked":
            raise ServingError(
                Code.UNIMPLEMENTED,
                f"Transfer-Encoding {codings.decode('latin-1')[:40]!r} is not taken: send chunked "
                "alone, and name the coding of a compressed body in Content-Encoding.",
            )
    length = whole(headers.get(b"content-length", b"0").strip(b" \t"), 20)
    if length is None:
        raise invalid("Content-Length is not a number of bytes.")
    return length
