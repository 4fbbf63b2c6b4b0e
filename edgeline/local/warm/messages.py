"""What a run and the warm processes tell each other: small JSON objects, with open files.

A message over a socket of kind SOCK_SEQPACKET is one packet, so it is there whole or not at all.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

LARGEST = 1 << 16  # bytes of a message
MOST_FILES = 4


def send(connection: socket.socket, message: dict[str, Any], *files: int) -> None:
    """Send a message with descriptors of open files, of which the other side gets copies.

    Raises:
        OSError: the other side is gone, or, of a socket that does not block, has no room.
    """
    socket.send_fds(connection, [json.dumps(message).encode()], files)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message with its descriptors, which no started program gets; None at the end.

    Raises:
        OSError: as `socket.recv`.
        ValueError: it is not a JSON object.
    """
    content, files, _, _ = socket.recv_fds(connection, LARGEST, MOST_FILES)
    for each in files:
        os.set_inheritable(each, False)
    if not content:
        close(files)
        return None
    try:
        message = json.loads(content)
        if not isinstance(message, dict):
            raise ValueError("a message is a JSON object")
    except ValueError:
        close(files)
        raise
    return message, files


def close(files: list[int]) -> None:
    """Close descriptors that nobody takes."""
    for each in files:
        os.close(each)


def peer(connection: socket.socket) -> tuple[int, int]:
    """The process and the user at the other end, as the kernel knows them: who connected, or who
    listens."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    process, user, _ = struct.unpack("3i", found)
    return process, user
