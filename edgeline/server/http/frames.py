"""HTTP/2's frames, and answers in them: RFC 9113, RFC 7541, and gRPC over HTTP/2.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from edgeline.server.digits import whole
from edgeline.server.errors import ServingError, invalid

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL, FLOW, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, CALM = (
    *(0, 1, 3, 5, 6, 7, 8, 9, 11),
)
FRAME = struct.Struct(">HBBBI")  # length is 24 bits: 16 and 8
U32 = struct.Struct(">I")
OK_HEADERS = b"\x88\x0f\x10\x10application/grpc"  # :status 200, content-type
STATUS, MESSAGE = b"\x00\x0bgrpc-status", b"\x00\x0cgrpc-message"
OK_TRAILERS = STATUS + b"\x010"
CONTINUE = b"\x08\x03100"  # :status 100
_STATUSES = {200: b"\x88", 204: b"\x89", 400: b"\x8c", 404: b"\x8d", 500: b"\x8e"}
# of a whole answer: the header's frame and the head of the data's with the message's; the trailers
_START = struct.Struct(f">HBBBI{len(OK_HEADERS)}sHBBBIBI")
_END = struct.Struct(f">HBBBI{len(OK_TRAILERS)}s")
_LENGTHS = {PRIORITY: 5, RST: 4, PING: 8, WINDOW: 4}  # of those whose payload has one length
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class BrokenError(Exception):
    """The client broke the protocol: `code` is what the connection ends with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class MalformedError(Exception):
    """A message that is malformed: its stream alone ends (RFC 9113, section 8.1.1)."""


def frame(length: int, kind: int, flags: int, number: int) -> bytes:
    """The head of a frame on a stream."""
    return FRAME.pack(length >> 8, length & 255, kind, flags, number)


def answer(number: int, message: bytes) -> bytes:
    """A whole answer of status OK on a stream: three frames, the message in one."""
    size = len(message)
    start = _START.pack(
        *(0, len(OK_HEADERS), HEADERS, END_HEADERS, number, OK_HEADERS),
        *(size + 5 >> 8, size + 5 & 255, DATA, 0, number, 0, size),
    )
    end = _END.pack(0, len(OK_TRAILERS), HEADERS, END_HEADERS | END_STREAM, number, OK_TRAILERS)
    return b"".join((start, message, end))


def check(kind: int, flags: int, number: int, length: int) -> None:
    """Hold a frame other than DATA, HEADERS and CONTINUATION to its stream and its length.

    Raises:
        BrokenError: it is on a stream that it cannot be on, or too long or too short.
    """
    if kind == PUSH:
        raise BrokenError(PROTOCOL, "a client does not push")
    if (kind in (SETTINGS, PING, GOAWAY) and number) or (kind in (PRIORITY, RST) and not number):
        raise BrokenError(PROTOCOL, "a frame is on a stream where it cannot be")
    if length != _LENGTHS.get(kind, length) or (kind == GOAWAY and length < 8):
        raise BrokenError(SIZE, "a frame does not have the length of its kind")
    if kind == SETTINGS and (length % 6 or (flags & ACK and length)):
        raise BrokenError(SIZE, "settings are cut")


def response(status: int, content_type: bytes, length: int, lines: Iterable[bytes]) -> bytes:
    """The header block of an answer; `lines` are headers as HTTP/1.1 writes them."""
    block = [
        _STATUSES.get(status) or b"\x08" + literal(b"%d" % status),
        *(b"\x0f\x10", literal(content_type), b"\x0f\x0d", literal(b"%d" % length)),
    ]
    for line in lines:
        name, _, value = line.partition(b":")
        block += (b"\x00", literal(name.lower()), literal(value.strip()))
    return b"".join(block)


def error_trailers(error: ServingError) -> bytes:
    """The header block that ends a gRPC call with an error."""
    return STATUS + text(str(int(error.code))) + MESSAGE + text(quoted(str(error)))


def unpadded(payload: bytes, flags: int) -> bytes:
    """A payload without its padding."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise BrokenError(PROTOCOL, "a frame is all padding")
    return payload[1 : len(payload) - payload[0]]


def fragment(number: int, flags: int, payload: bytes) -> bytes:
    """The header block in a HEADERS frame, without its padding and its priority.

    Raises:
        BrokenError: it is cut, or the stream depends on itself.
    """
    payload = unpadded(payload, flags)
    if not flags & PRIORITISED:
        return payload
    if len(payload) < 5:
        raise BrokenError(SIZE, "a priority does not have 5 bytes")
    if U32.unpack_from(payload)[0] & 0x7FFFFFFF == number:
        raise BrokenError(PROTOCOL, "a stream depends on itself")
    return payload[5:]


def text(value: str) -> bytes:
    """A header's value, not compressed; at most 16 kB."""
    return literal(value.encode("ascii")[:16000])


def literal(data: bytes) -> bytes:
    """A header's name or value, not compressed (RFC 7541, section 5.2)."""
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, bytearray((127,))
    while rest > 127:
        size.append(rest & 127 | 128)
        rest >>= 7
    size.append(rest)
    return bytes(size) + data


def quoted(message: str) -> str:
    """A message as gRPC percent-encodes it."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte != 37 else f"%{byte:02X}"
        for byte in message.encode()[:4000]
    )


def timeout(value: str) -> float:
    """Seconds of a grpc-timeout header.

    Raises:
        ServingError: it is none.
    """
    unit, number = _UNITS.get(value[-1:]), whole(value[:-1], 8)
    if unit is None or number is None:
        raise invalid(
            f"grpc-timeout is {value[:40]!r}: give up to 8 digits and one of {', '.join(_UNITS)}."
        )
    return number * unit
