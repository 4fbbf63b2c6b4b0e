"""Protocol buffers' wire format, for the few messages that a server reads and writes.

A schema maps field numbers to fields; a message is a dict by field names. Without generated
classes there is nothing to register, so these messages never clash with those of tritonclient,
kserve or tensorflow_serving in one process, and neither grpcio nor protobuf is loaded.
Encoding: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from edgeline.server.work_memory import take

_MAX_DEPTH = 16
MOST_FIELDS = 1 << 20  # of a message and all within it: an object each, of some 200 bytes
MOST_NAMING = 1 << 14  # where no worker does it
_BLOCK = 1 << 20  # bytes of packed numbers that are read at once
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")
_VARINTS = ("int64", "uint64", "bool")
_SMALL = [bytes((value,)) for value in range(128)]
_NUMPY = {"float": "<f4", "double": "<f8", "int64": "<i8", "uint64": "<u8", "bool": "?"}


class WireError(ValueError):
    """Bytes that are not a message."""


class Budget:
    """How many fields a message may still have, what is read later of it included."""

    __slots__ = ("_most", "left")

    def __init__(self, most: int) -> None:
        self._most = self.left = most

    def over(self) -> WireError:
        """What is said where there are more."""
        return WireError(f"it has over {self._most:,} fields: ask for fewer rows at once")


@dataclass(frozen=True)
class Field:
    """A field: its name and kind, which is `string`, `bytes`, `int64` (any signed or enum),
    `uint64`, `bool`, `float`, `double`, or a schema for a message. Repeated numbers are decoded
    to numpy arrays, maps to dicts by their entries' `key`.

    For reflection alone, `of` is the type that a .proto file gives it, where that is another than
    `kind`: `int32`, `uint32`, an `Enum`, or the message that its bytes are; and `choice` is the
    `oneof` that it belongs to.
    """

    name: str
    kind: Any
    repeated: bool = False
    map: bool = False
    of: Any = None
    choice: str = ""


Fields = Mapping[int, Field]


class Message(dict[int, Field]):
    """A schema with the name that a .proto file gives it: its package's and its own."""

    def __init__(self, name: str, fields: Fields) -> None:
        super().__init__(fields)
        self.name = name


@dataclass(frozen=True)
class Enum:
    """An enum's full name, and its values: number and name, zero first."""

    name: str
    values: tuple[tuple[int, str], ...]


def budget(data: memoryview) -> Budget | None:
    """What a message may have; None where it is too short for more."""
    return Budget(MOST_FIELDS) if len(data) > 2 * MOST_FIELDS else None


def decode(
    data: memoryview, schema: Fields, left: Budget | None = None, depth: int = 0
) -> dict[str, object]:
    """Read a message; `bytes` stay views on `data`, unknown fields are left out.

    Args:
        left: how many fields it may have; None for any number.

    Raises:
        WireError: the bytes end early, are of another type than the schema says, or are too many
            fields.
    """
    if depth > _MAX_DEPTH:
        raise WireError("messages are nested too deep")
    message: dict[str, Any] = {}
    _read(data, schema, message, left, depth)
    return message


def decode_beginning(data: memoryview, schema: Fields, left: Budget) -> dict[str, object]:
    """As `decode`, of the first bytes of a message: its fields up to the first that is not whole,
    or not as the schema says."""
    message: dict[str, Any] = {}
    try:
        _read(data, schema, message, left, 0)
    except WireError:
        if left.left < 0:
            raise
    return message


def _read(
    data: memoryview,
    schema: Fields,
    message: dict[str, Any],
    left: Budget | None,
    depth: int,
) -> None:
    numbers: dict[str, list[Any]] = {}
    place, size = 0, len(data)
    while place < size:
        if left is not None:
            left.left -= 1
            if left.left < 0:
                raise left.over()
        key = data[place]
        place += 1
        if key > 127:
            key, place = _varint(data, place - 1)
        wire, field = key & 7, schema.get(key >> 3)
        value: object
        if wire == 2:
            length = data[place] if place < size else 128
            place += 1
            if length > 127:
                length, place = _varint(data, place - 1)
            if length > size - place:
                raise WireError("it ends early")
            value = data[place : place + length]
            place += length
        elif wire == 0:
            value, place = _varint(data, place)
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            if width > size - place:
                raise WireError("it ends early")
            value = data[place : place + width]
            place += width
        else:
            raise WireError(f"it has a field of wire type {wire}")
        if field is not None:
            _store(message, numbers, field, wire, value, left, depth)
    for name, parts in numbers.items():
        message[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)


def encode(message: Mapping[str, Any], schema: Fields) -> bytes:
    """Write a message; fields that are absent, empty or zero are left out.

    A message within it may be given as its bytes.
    """
    parts: list[bytes] = []
    for number, field in schema.items():
        value = message.get(field.name)
        if value is None:
            continue
        if field.map:
            for key, entry in value.items():
                _write(parts, number, {"key": key, "value": entry}, field.kind)
        elif field.repeated:
            if isinstance(field.kind, str) and field.kind in _NUMPY:
                packed = _pack(value, field.kind)
                if packed:
                    parts += (tag(number, 2), varint(len(packed)), packed)
            else:
                for item in value:
                    _write(parts, number, item, field.kind)
        elif value or isinstance(value, dict):
            _write(parts, number, value, field.kind)
    return b"".join(parts)


@cache
def tag(number: int, wire: int) -> bytes:
    """The key before a field's value."""
    return varint(number << 3 | wire)


def varint(value: int) -> bytes:
    """A whole number, seven bits a byte, negative ones as 64 bits."""
    if 0 <= value < 128:
        return _SMALL[value]
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[place : place + 10]:
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & ((1 << 64) - 1), place
        shift += 7
    raise WireError("it has a broken number")


def _store(
    message: dict[str, Any],
    numbers: dict[str, list[object]],
    field: Field,
    wire: int,
    value: Any,
    left: Budget | None,
    depth: int,
) -> None:
    kind = field.kind
    if kind == "string":
        if wire != 2:
            raise WireError(f"field {field.name} is not a string")
        try:
            value = str(value, "utf-8")
        except UnicodeDecodeError as error:
            raise WireError(f"field {field.name} is not UTF-8") from error
    elif kind == "bytes":
        if wire != 2:
            raise WireError(f"field {field.name} is not bytes")
    elif not isinstance(kind, str):
        if wire != 2:
            raise WireError(f"field {field.name} is not a message")
        value = decode(value, kind, left, depth + 1)
        if field.map:
            message.setdefault(field.name, {})[value.get("key", "")] = value.get("value")
            return
    elif field.repeated:
        numbers.setdefault(field.name, []).append(_unpack(value, field, wire))
        return
    else:
        value = _unpack(value, field, wire)[-1:].tolist()
        value = value[0] if value else 0
    if field.repeated:
        message.setdefault(field.name, []).append(value)
    else:
        message[field.name] = value


def _unpack(value: Any, field: Field, wire: int) -> Any:
    kind = field.kind
    if kind in _VARINTS:
        if wire == 0:
            array = np.array([value], np.uint64)
        elif wire == 2:
            array = _varints(value, field.name)
        else:
            raise WireError(f"field {field.name} is not a whole number")
        return array != 0 if kind == "bool" else array.view(_NUMPY[kind])
    width = 4 if kind == "float" else 8
    if (wire != 2 and wire != (5 if kind == "float" else 1)) or len(value) % width:
        raise WireError(f"field {field.name} is not of type {kind}")
    return np.frombuffer(value, _NUMPY[kind])


def _varints(data: memoryview, name: str) -> Any:
    """Packed numbers; many of them all at once."""
    if len(data) < 64:
        few, place = [], 0
        while place < len(data):
            value, place = _varint(data, place)
            few.append(value)
        return np.array(few, np.uint64)
    raw = np.frombuffer(data, np.uint8)
    if raw[-1] > 127:
        raise WireError(f"field {name} ends early")
    count = int(np.count_nonzero(raw < 128))
    if len(raw) > _BLOCK:
        take(8 * count)
    values, place, done = np.empty(count, np.uint64), 0, 0
    while place < len(raw):  # what stands beside the values is of one block alone
        block = raw[place : place + _BLOCK]
        ends = np.flatnonzero(block < 128)
        if not len(ends):
            raise WireError(f"field {name} has a broken number")
        values[done : done + len(ends)] = _block(block, ends, name)
        done, place = done + len(ends), place + int(ends[-1]) + 1
    return values


def _block(raw: Any, ends: Any, name: str) -> Any:
    """The numbers that end within some bytes, at `ends`."""
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise WireError(f"field {name} has a broken number")
    values = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max())):
        has = lengths > place
        septets = (raw[starts[has] + place] & 127).astype(np.uint64)
        values[has] |= septets << np.uint64(7 * place)
    return values


def _pack(value: Any, kind: str) -> bytes:
    if kind in _VARINTS:
        if len(value) < 32:
            return b"".join([varint(int(number)) for number in value])
        return _pack_varints(np.asarray(value, np.uint64 if kind == "uint64" else np.int64))
    return np.asarray(value, _NUMPY[kind]).tobytes()


def _pack_varints(array: Any) -> bytes:
    """Many numbers at once, each in seven-bit groups."""
    values = array.view(np.uint64)
    bounds = np.uint64(1) << np.arange(7, 64, 7, dtype=np.uint64)
    lengths = 1 + np.searchsorted(bounds, values, side="right")
    ends = np.cumsum(lengths)
    out = np.empty(int(ends[-1]), np.uint8)
    starts = ends - lengths
    for place in range(int(lengths.max())):
        has = lengths > place
        group = (values[has] >> np.uint64(7 * place)) & np.uint64(127)
        more = (lengths[has] > place + 1).astype(np.uint64) << np.uint64(7)
        out[starts[has] + place] = (group | more).astype(np.uint8)
    return out.tobytes()


def _write(parts: list[bytes], number: int, value: Any, kind: Any) -> None:
    if kind == "string":
        value = value.encode(errors="backslashreplace") if isinstance(value, str) else value
    elif not isinstance(kind, str):
        value = value if isinstance(value, bytes) else encode(value, kind)
    elif kind == "float":
        parts += (tag(number, 5), _FLOAT.pack(value))
        return
    elif kind == "double":
        parts += (tag(number, 1), _DOUBLE.pack(value))
        return
    elif kind != "bytes":
        parts += (tag(number, 0), varint(int(value)))
        return
    parts += (tag(number, 2), varint(len(value)), value)
