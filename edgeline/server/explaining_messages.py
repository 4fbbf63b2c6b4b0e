"""What a server and the process that explains send each other through their socket."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from time import monotonic
from typing import Any

NUMBER = struct.Struct(">I")  # of an order
HEAD = struct.Struct(">II")  # sizes of a message's JSON and of the bytes behind it
LARGEST = 1 << 26  # bytes of a message


def send(line: socket.socket, told: Mapping[str, object], body: bytes) -> None:
    """Send a message: JSON and bytes."""
    text = json.dumps(told).encode()
    line.sendall(HEAD.pack(len(text), len(body)) + text + body)


def receive(line: socket.socket, end: float = float("inf")) -> tuple[dict[str, Any], bytes]:
    """Receive one, until a point of `time.monotonic`.

    Raises:
        EOFError, OSError: the other side has ended.
        TimeoutError: the time is over.
    """
    sizes = HEAD.unpack(_exactly(line, HEAD.size, end))
    if sum(sizes) > LARGEST:
        raise ConnectionError("it sends too much")
    try:
        told: dict[str, Any] = json.loads(_exactly(line, sizes[0], end))
    except ValueError as error:
        raise ConnectionError("it sends what is not JSON") from error
    return told, _exactly(line, sizes[1], end)


def _exactly(line: socket.socket, size: int, end: float) -> bytes:
    found = bytearray()
    while len(found) < size:
        if end < float("inf"):
            line.settimeout(max(0.001, end - monotonic()))
        piece = line.recv(min(1 << 16, size - len(found)))
        if not piece:
            raise ConnectionError("it has ended")
        found += piece
    return bytes(found)
