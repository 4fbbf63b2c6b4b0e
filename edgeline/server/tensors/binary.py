"""Tensors to and from the bytes of the Open Inference Protocol.

Numbers are little-endian in row order; a BYTES element is its length (u32) and its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeline.formats.dtypes import BY_V2, Array
from edgeline.server.errors import invalid

_LENGTH = struct.Struct("<I")
_MOST = 1 << 40  # elements
MOST_DIMENSIONS = 16
_SHORT = 64  # bytes of a string, its length included: such are often alike, and are kept once


def from_bytes(data: bytes | memoryview, datatype: str, shape: Sequence[int], name: str) -> Array:
    """An array on the given bytes (numbers are not copied, and read-only).

    Raises:
        ServingError: their number is not what dtype and shape need.
    """
    count = elements(shape, name)
    if datatype == "BYTES":
        return _strings(memoryview(data), count, name).reshape(shape)
    dtype = BY_V2[datatype].numpy
    if len(data) != count * dtype.itemsize:
        raise invalid(
            f"Input {name!r} has {len(data)} bytes, but {datatype} of shape {list(shape)} "
            f"needs {count * dtype.itemsize}."
        )
    if datatype == "BOOL" and len(data) and np.frombuffer(data, np.uint8).max() > 1:
        raise invalid(f"Input {name!r} holds a byte that is neither 0 nor 1: give BOOL.")
    return np.frombuffer(data, dtype).reshape(shape)


def to_bytes(array: Array) -> bytes:
    """An array as the protocol's bytes."""
    if array.dtype.kind not in "OSU":
        return array.tobytes()
    parts: list[bytes] = []
    for value in array.flat:
        item = value.encode() if isinstance(value, str) else bytes(value)
        parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


def elements(shape: Sequence[int], name: str) -> int:
    """How many elements a shape holds.

    Raises:
        ServingError: it is not a list of sizes.
    """
    count = 1
    if len(shape) > MOST_DIMENSIONS:
        raise invalid(f"Input {name!r} has over {MOST_DIMENSIONS} dimensions.")
    for size in shape:
        if type(size) is not int or size < 0:
            raise invalid(f"Input {name!r} has a shape that is not a list of sizes from 0.")
        if size > _MOST:
            raise invalid(f"Input {name!r} has a shape that no request can hold.")
        count *= size
    if count > _MOST:
        raise invalid(f"Input {name!r} has a shape that no request can hold.")
    return count


def _strings(data: memoryview, count: int, name: str) -> Array:
    if count * 4 > len(data):
        raise invalid(f"Input {name!r} has {len(data)} bytes, too few for {count} strings.")
    short = len(data) <= _SHORT * count
    held = bytes(data) if short else data  # cut faster than a view; what is long is copied once
    found: list[Any] = []
    place, unpack = 0, _LENGTH.unpack_from
    try:
        for _ in range(count):
            start = place + 4
            (size,) = unpack(held, place)
            place = start + size
            found.append(held[start:place])
    except struct.error:  # the end comes before a length, or came before the end of a string
        at = len(found) - (place > len(data))
        raise invalid(f"Input {name!r} ends within string {at} of {count}.") from None
    if place > len(data):
        raise invalid(f"Input {name!r} ends within string {count - 1} of {count}.")
    if place < len(data):
        raise invalid(f"Input {name!r} has {len(data) - place} bytes after its last string.")
    kept: dict[bytes, bytes] = {}
    array = np.empty(count, object)
    array[:] = [*map(kept.setdefault, found, found)] if short else [*map(bytes, found)]
    return array
