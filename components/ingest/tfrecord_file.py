"""The records of a TFRecord file, gzip too, checked.

A record is framed as `uint64 length, uint32 crc of the length, data, uint32 crc of the data`,
little-endian; a crc is CRC-32C (Castagnoli), rotated right by 15 bits plus 0xA282EAD8
(tensorflow/core/lib/io/record_writer.h, lib/hash/crc32c.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from edgeline.components.ingest.rows import open_unpacked
from edgeline.errors import EdgelineError
from edgeline.stores.storage import File

LONGEST_RECORD = (1 << 31) - 1  # what a protocol buffer can hold


def records(file: File) -> Iterator[bytes]:
    """The data of each record.

    Raises:
        EdgelineError: one is damaged, or the file is none of TFRecords.
    """
    import google_crc32c

    def masked(data: bytes) -> int:
        crc: int = google_crc32c.value(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    with open_unpacked(file) as stream:
        number = 1
        while head := _read(stream, 12, file, number, may_end=True):
            length, check = struct.unpack("<QI", head)
            if masked(head[:8]) != check or length > LONGEST_RECORD:
                raise _damaged(file, number, "the checksum of its length is wrong")
            data = _read(stream, length, file, number)
            (check,) = struct.unpack("<I", _read(stream, 4, file, number))
            if masked(data) != check:
                raise _damaged(file, number, "the checksum of its data is wrong")
            yield data
            number += 1


def _read(stream: BinaryIO, size: int, file: File, number: int, *, may_end: bool = False) -> bytes:
    data = stream.read(size)
    if len(data) < size and (data or not may_end):
        raise _damaged(file, number, "the file ends within it")
    return data


def _damaged(file: File, number: int, fault: str) -> EdgelineError:
    return EdgelineError(
        f"{file.name}, record {number}: damaged or not a TFRecord file ({fault}): write it again."
    )
