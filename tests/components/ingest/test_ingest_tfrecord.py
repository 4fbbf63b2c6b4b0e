"""TFRecord files, written by hand."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import pytest
from ingesting import fault, rows, table


def crc32c(data: bytes) -> int:
    """Bit by bit, as RFC 3720 defines it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    def masked(part: bytes) -> bytes:
        crc = crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def delimited(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def example(**features: list[Any]) -> bytes:
    """tf.Example on the wire: field numbers of example.proto and feature.proto."""
    entries = b""
    for name, values in features.items():
        if not values:
            feature = b""
        elif isinstance(values[0], bytes):
            feature = delimited(1, b"".join(delimited(1, value) for value in values))
        elif isinstance(values[0], float):
            feature = delimited(2, delimited(1, struct.pack(f"<{len(values)}f", *values)))
        else:
            feature = delimited(3, delimited(1, bytes(values)))
        entries += delimited(1, delimited(1, name.encode()) + delimited(2, feature))
    return record(delimited(1, entries))


RECORDS = [
    example(age=[7], name=["Zoë".encode()], box=[0.5, 1.5], raw=[b"\xff"]),
    example(age=[], name=[b"Al"], raw=[b"a"]),
]
WANTED = [
    {"age": 7, "box": [0.5, 1.5], "name": "Zoë", "raw": b"\xff"},
    {"age": None, "box": [None, None], "name": "Al", "raw": b"a"},
]


@pytest.mark.parametrize(
    ("name", "pack"), [("d.tfrecord", bytes), ("d.tfrecord.gz", gzip.compress)]
)
def test_tfrecord(name: str, pack: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pack(b"".join(RECORDS)))
    assert rows(tmp_path / name, tmp_path / "out") == WANTED
    types = {field.name: str(field.type) for field in table(tmp_path / "out").schema}
    assert types == {
        "age": "int64",
        "box": "fixed_size_list<element: float>[2]",
        "name": "string",
        "raw": "binary",
    }


def test_a_tfrecord_that_tensorflow_agrees_on() -> None:
    # the masked checksum of the eight bytes of the length 0, as in every TFRecord of empty records
    assert record(b"")[8:12] == bytes.fromhex("29039807")


GOOD = RECORDS[0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (GOOD + GOOD[:20] + b"?" + GOOD[21:], "record 2: damaged or not a TFRecord file (the checksum of its data"),  # noqa: E501
        (GOOD + b"?" + GOOD[1:], "record 2: damaged or not a TFRecord file (the checksum of its length"),  # noqa: E501
        (GOOD + GOOD[:-1], "record 2: damaged or not a TFRecord file (the file ends within it)"),
        (GOOD + GOOD[:5], "record 2: damaged or not a TFRecord file (the file ends within it)"),
        (GOOD + record(b"\xff\xff"), "record 2: not a tf.Example"),
        (GOOD + example(box=[1.0]), "record 2: feature 'box' has 1 values, but 2 in d.tfrecord, record 1"),  # noqa: E501
        (GOOD + example(age=[1.0]), "record 2: feature 'age' holds float, but int64 in d.tfrecord, record 1"),  # noqa: E501
        (b"", "d.tfrecord holds no feature"),
    ],
)  # fmt: skip
def test_tfrecord_faults(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "d.tfrecord").write_bytes(data)
    assert said in fault(tmp_path / "d.tfrecord", tmp_path / "out")
