"""What a server holds of requests that are not whole: what it counts, and what it takes.

`held(server, kind)` opens connections that each send a mutated stream and no end of it, and tells
by how much `edgeline_buffered_bytes` and the resident memory of the process grew meanwhile.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable

import hpack
from fuzz_cases import damaged, grpc_headers
from running import Running

CONNECTIONS = 100
BYTES = 400_000  # a connection sends at most
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack(">HBBBI", 0, 0, 4, 0, 0)


def _http1(rng: random.Random) -> bytes:
    """A body that is announced longer than what comes."""
    head = b"POST /v2/models/mixed/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    return head % (2 * BYTES) + rng.randbytes(rng.randint(BYTES // 2, BYTES))


def _chunks(rng: random.Random) -> bytes:
    """A body in small chunks whose last never comes."""
    head = b"POST /v1/models/mixed:predict HTTP/1.1\r\nHost: localhost\r\n"
    sizes = [rng.randint(1, 300) for _ in range(BYTES // 400)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, rng.randbytes(size)) for size in sizes)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks


def _pipelined(rng: random.Random) -> bytes:
    """Requests one behind the other, the first of which has no end."""
    first = b"POST /v1/models/mixed:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n"
    return first + damaged(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n" * 5000, rng)


def _frames(rng: random.Random) -> bytes:
    """The data of calls that do not end, on some streams, within the window of a connection."""
    encoder, parts = hpack.Encoder(), [_PREFACE]
    for stream in (1, 3, 5):
        block = encoder.encode(grpc_headers("/inference.GRPCInferenceService/ModelInfer"))
        parts.append(_frame(1, 4, stream, block))
        for _ in range(rng.randint(2, 8)):
            parts.append(_frame(0, 0, stream, rng.randbytes(rng.randint(1, 16384))))
    return b"".join(parts)


def _blocks(rng: random.Random) -> bytes:
    """A block of headers that does not end."""
    parts = [_PREFACE, _frame(1, 0, 1, b"\x00" + rng.randbytes(100))]
    parts += [_frame(9, 0, 1, rng.randbytes(rng.randint(100, 4000))) for _ in range(7)]
    return b"".join(parts)


KINDS: dict[str, Callable[[random.Random], bytes]] = {
    "http1": _http1,
    "chunks": _chunks,
    "pipelined": _pipelined,
    "frames": _frames,
    "blocks": _blocks,
}


def held(server: Running, kind: str, seed: int = 0) -> dict[str, float]:
    """Megabytes that are counted and used more than before."""
    rng = random.Random(seed)
    before = _figures(server)
    connections: list[socket.socket] = []
    try:
        for _ in range(CONNECTIONS):
            connection = server.connect()
            connections.append(connection)
            with contextlib.suppress(OSError):  # it is refused and closed
                connection.sendall(KINDS[kind](rng))
        after = _settled(server)
    finally:
        for connection in connections:
            connection.close()
    return {
        "counted_mb": round((after[0] - before[0]) / 1e6, 2),
        "used_mb": round((after[1] - before[1]) / 1e6, 2),
    }


def _figures(server: Running) -> tuple[float, float]:
    return (
        server.metric("edgeline_buffered_bytes"),
        server.metric("process_resident_memory_bytes"),
    )


def _settled(server: Running) -> tuple[float, float]:
    """The figures once the server has read what was sent: they are the same twice."""
    last, until = (-1.0, -1.0), time.monotonic() + 20
    while (now := _figures(server)) != last and time.monotonic() < until:
        last = now
        time.sleep(0.1)
    return now


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload)
    return struct.pack(">HBBBI", length >> 8, length & 255, kind, flags, stream) + payload
