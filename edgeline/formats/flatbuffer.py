"""A flatbuffer read with every offset and length checked against the file.

Generated flatbuffer accessors trust the file: a damaged offset makes them read anywhere,
or for ever. Here nothing is read that is not wholly inside the data, and the number of
things read is limited, so that a file whose vectors point at one another ends in an error
as well. The format: flatbuffers.dev/internals.

    root = flatbuffer.root(data, "TFL3", "model.tflite")
    root.number(0, "I")                          # field 0, an unsigned 32-bit integer
    [table.string(3) for table in root.tables(2)]
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeline.errors import EdgelineError

Bytes = npt.NDArray[np.uint8]
MOST_READ = 1_000_000  # tables and elements; a model of 10,000 operators has some 500,000
MOST_TEXT = 1 << 20  # bytes of one string


class DamagedError(EdgelineError):
    """The data breaks the format."""


@dataclass
class Reader:
    """The data of one flatbuffer, what it is called in errors, and how much may still be read."""

    data: Bytes
    name: str
    left: int = MOST_READ

    def damaged(self, fault: str) -> DamagedError:
        """The error for a fault, to be raised."""
        return DamagedError(f"{self.name} is damaged ({fault}): take an intact copy of the file.")

    def charge(self, count: int) -> None:
        """Count what is read, so that shared or cyclic offsets cannot go on for ever."""
        self.left -= count
        if self.left < 0:
            raise self.damaged(f"it holds more than {MOST_READ:,} tables and elements")

    def unpack(self, position: int, kind: str) -> int | float | bool:
        """One little-endian scalar, `kind` as in `struct`."""
        size = struct.calcsize("<" + kind)
        if position < 0 or position + size > len(self.data):
            raise self.damaged(f"an offset leads to byte {position:,} of {len(self.data):,}")
        if position % size:
            raise self.damaged(f"a value at byte {position:,} is not aligned")
        value: int | float | bool = struct.unpack_from("<" + kind, self.data.data, position)[0]
        return value

    def follow(self, position: int) -> int:
        """Where the 32-bit offset at a position leads."""
        offset = int(self.unpack(position, "I"))
        if offset < 4:
            raise self.damaged(f"an offset at byte {position:,} leads to itself")
        return position + offset

    def vector(self, position: int, size: int) -> tuple[int, int]:
        """Where the elements of a vector begin and how many there are, wholly inside the data."""
        count = int(self.unpack(position, "I"))
        if position + 4 + count * size > len(self.data):
            raise self.damaged(
                f"a vector at byte {position:,} claims {count:,} elements, "
                "which reach beyond the end of the data"
            )
        return position + 4, count


@dataclass(frozen=True)
class Table:
    """A table whose vtable has been checked. Fields are asked for by their number."""

    reader: Reader
    position: int
    fields: tuple[int, ...]
    size: int

    def at(self, field: int, size: int = 4) -> int | None:
        """Where a field of so many bytes lies, None where the table leaves it out."""
        if field >= len(self.fields) or not self.fields[field]:
            return None
        offset = self.fields[field]
        if offset < 4 or offset + size > self.size:
            raise self.reader.damaged(
                f"field {field} of the table at byte {self.position:,} lies outside it"
            )
        return self.position + offset

    def number(self, field: int, kind: str, default: float = 0) -> int | float | bool:
        """A scalar field, `kind` as in `struct`."""
        position = self.at(field, struct.calcsize("<" + kind))
        return default if position is None else self.reader.unpack(position, kind)

    def integer(self, field: int, kind: str, default: int = 0) -> int:
        """An integer field, `kind` as in `struct`."""
        return int(self.number(field, kind, default))

    def string(self, field: int) -> str:
        """A text field, empty where left out."""
        raw = self.bytes(field)
        return "" if raw is None else self._text(raw)

    def bytes(self, field: int) -> Bytes | None:
        """A vector of bytes (or a string) as a view of the data, None where left out."""
        position = self.at(field)
        if position is None:
            return None
        start, count = self.reader.vector(self.reader.follow(position), 1)
        return self.reader.data[start : start + count]

    def array(self, field: int, dtype: str) -> npt.NDArray[np.generic]:
        """A vector of scalars as a copy, numpy `dtype` such as `<i4`; empty where left out."""
        position = self.at(field)
        if position is None:
            return np.empty(0, dtype)
        size = np.dtype(dtype).itemsize
        start, count = self.reader.vector(self.reader.follow(position), size)
        self.reader.charge(1 + count // 16)
        return np.frombuffer(self.reader.data[start : start + count * size].tobytes(), dtype)

    def integers(self, field: int, dtype: str = "<i4") -> tuple[int, ...]:
        """A vector of integers, empty where left out."""
        values = self.array(field, dtype)
        self.reader.charge(len(values))
        return tuple(values.tolist())

    def table(self, field: int) -> Table | None:
        """A table, None where left out."""
        position = self.at(field)
        return None if position is None else _table(self.reader, self.reader.follow(position))

    def tables(self, field: int) -> list[Table]:
        """A vector of tables, empty where left out."""
        return [_table(self.reader, place) for place in self._places(field)]

    def strings(self, field: int) -> list[Bytes]:
        """A vector of strings as raw bytes, empty where left out."""
        found = []
        for place in self._places(field):
            start, count = self.reader.vector(place, 1)
            found.append(self.reader.data[start : start + count])
        return found

    def _places(self, field: int) -> list[int]:
        position = self.at(field)
        if position is None:
            return []
        start, count = self.reader.vector(self.reader.follow(position), 4)
        self.reader.charge(count)
        return [self.reader.follow(start + 4 * index) for index in range(count)]

    def _text(self, raw: Bytes) -> str:
        if len(raw) > MOST_TEXT:
            raise self.reader.damaged(f"a text of {len(raw):,} bytes")
        self.reader.charge(1 + len(raw) // 16)
        try:
            return raw.tobytes().decode()
        except UnicodeDecodeError as error:
            raise self.reader.damaged("a text is not UTF-8") from error


def root(data: Bytes, identifier: str, name: str) -> Table:
    """The root table of a flatbuffer.

    Args:
        data: the bytes, [size] uint8.
        identifier: the four letters that the schema puts at byte 4, empty for none.
        name: what the data is called in errors.

    Raises:
        DamagedError: too short, another identifier, or a root outside the data.
    """
    reader = Reader(data, name)
    if len(data) < 12:
        raise reader.damaged(f"only {len(data)} bytes")
    if identifier and data[4:8].tobytes() != identifier.encode():
        raise reader.damaged(f"bytes 4 to 7 are not {identifier!r}")
    return _table(reader, reader.follow(0))


def _table(reader: Reader, position: int) -> Table:
    reader.charge(1)
    vtable = position - int(reader.unpack(position, "i"))
    length = int(reader.unpack(vtable, "H"))
    size = int(reader.unpack(vtable + 2, "H"))
    if length < 4 or length % 2 or vtable + length > len(reader.data):
        raise reader.damaged(f"the table at byte {position:,} has no proper list of fields")
    if size < 4 or position + size > len(reader.data):
        raise reader.damaged(f"the table at byte {position:,} reaches beyond the end of the data")
    fields = struct.unpack_from(f"<{length // 2 - 2}H", reader.data.data, vtable + 4)
    return Table(reader, position, fields, size)


def view(data: bytes) -> Bytes:
    """Bytes as an array, [size] uint8, without a copy."""
    return np.frombuffer(data, np.uint8)
