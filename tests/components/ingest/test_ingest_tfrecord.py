"""TFRecord files, written by hand."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingesting import ONE, fault, rows, table

from edgeline.artifacts import features as raw_features
from edgeline.components.ingest.ingest import ingest


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


def feature(values: list[Any] | None) -> bytes:
    """A feature on the wire: field numbers of feature.proto; without a kind where None is given."""
    if values is None:
        return b""
    if values and isinstance(values[0], bytes):
        return delimited(1, b"".join(delimited(1, value) for value in values))
    if values and isinstance(values[0], float):
        return delimited(2, delimited(1, struct.pack(f"<{len(values)}f", *values)))
    return delimited(3, delimited(1, bytes(values)) if values else b"")


def features(**given: list[Any] | None) -> bytes:
    entries = b""
    for name, values in given.items():
        entry = delimited(1, name.encode()) + delimited(2, feature(values))
        entries += delimited(1, entry)
    return entries


def example(**given: list[Any] | None) -> bytes:
    """tf.Example on the wire: field numbers of example.proto."""
    return record(delimited(1, features(**given)))


def sequence(context: dict[str, list[Any] | None], **lists: list[list[Any] | None]) -> bytes:
    """tf.SequenceExample on the wire."""
    entries = b""
    for name, steps in lists.items():
        found = b"".join(delimited(1, feature(step)) for step in steps)
        entries += delimited(1, delimited(1, name.encode()) + delimited(2, found))
    return record(delimited(1, features(**context)) + delimited(2, entries))


RECORDS = [
    example(age=[7], name=["Zoë".encode()], box=[0.5, 1.5], raw=[b"\xff"]),
    example(age=None, name=[b"Al"], raw=[b"a"]),
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
        (GOOD + example(box=[1.0]), "record 2: feature 'box' has 1 values, but 2 in d.tfrecord, record 1: declare the most values that one has, such as lengths={\"box\": 2}"),  # noqa: E501
        (sequence({}, a=[[1], [1.0]]), "record 1: feature list 'a' holds float and int64, but"),
        (sequence({}, a=[[1], [1, 2]]), "feature list 'a' has 2 values in a step, but a column holds one value of one type for each step: leave it out with columns={\"a\": false}"),  # noqa: E501
        (sequence({"a": [1]}, a=[[1]]), "record 1: has a feature and a feature list of the name 'a'"),  # noqa: E501
        (GOOD + example(age=[1.0]), "record 2: feature 'age' holds float, but int64 in d.tfrecord, record 1"),  # noqa: E501
        (b"", "d.tfrecord holds no feature"),
    ],
)  # fmt: skip
def test_tfrecord_faults(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "d.tfrecord").write_bytes(data)
    assert said in fault(tmp_path / "d.tfrecord", tmp_path / "out")


def test_parts_that_are_not_given_are_told(tmp_path: Path) -> None:
    for number in (0, 2):
        (tmp_path / f"x_tfrecord-{number:05}-of-00004").write_bytes(example(n=[number]))
    found = ingest(str(tmp_path), tmp_path / "out", split_ratios=ONE)
    assert found["notes"] == [
        "x_tfrecord-00000-of-00004 says that it is one of 4 parts, but 2 of them were not given, "
        "00001 first: give them all, where their rows are not left out on purpose."
    ]
    for number in (1, 3):
        (tmp_path / f"x_tfrecord-{number:05}-of-00004").write_bytes(example(n=[number]))
    assert "notes" not in ingest(str(tmp_path / "x_*"), tmp_path / "all", split_ratios=ONE)


def test_names_of_tfx_and_tfds_tell_the_format(tmp_path: Path) -> None:
    names = [
        "data_tfrecord-00000-of-00012.gz",
        "mnist-train.tfrecord-00001-of-00002",
        "data_tfrecord_eval.gz",
        "transformed_examples-00000-of-00001.gz",
    ]
    for number, name in enumerate(names):
        data = example(n=[number])
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        assert rows(tmp_path / name, tmp_path / f"out{number}") == [{"n": number}]
    (tmp_path / "x.csv-00000-of-00001").write_text("n\n5\n")
    assert rows(tmp_path / "x.csv-00000-of-00001", tmp_path / "csv") == [{"n": 5}]


def test_lists_of_varying_length_are_kept_and_filled_up_for_the_model(tmp_path: Path) -> None:
    records = [
        sequence({"box": [0.5]}, word=[[b"a"], None, [b"c"]]),
        sequence({"box": [1.5, 2.5]}, word=[]),
        example(box=[]),
        example(n=[1]),
    ]
    (tmp_path / "d.tfrecord").write_bytes(b"".join(records))
    facts = ingest(
        str(tmp_path / "d.tfrecord"),
        tmp_path / "out",
        split_ratios=ONE,
        lengths={"box": 2, "word": 3},
    )
    assert facts["columns"]["word"] == "list<item: string>"
    found = table(tmp_path / "out")
    assert found["word"].to_pylist() == [["a", None, "c"], [], None, None]
    assert found["box"].to_pylist() == [[0.5], [1.5, 2.5], [], None]
    (batch,) = found.to_batches()
    dense = raw_features.to_numpy(batch, raw_features.from_arrow_schema(batch.schema))
    assert dense["word"].tolist() == [[b"a", b"", b"c"], *[[b""] * 3] * 3]
    missing = float("nan")
    wanted = [[0.5, missing], [1.5, 2.5], [missing] * 2, [missing] * 2]
    np.testing.assert_array_equal(dense["box"], wanted)
    said = fault(tmp_path / "d.tfrecord", tmp_path / "no", lengths={"box": 1, "word": 3})
    assert "record 2, column 'box': has 2 values, but lengths says at most 1" in said


def test_a_feature_without_a_value_anywhere_is_a_column(tmp_path: Path) -> None:
    records = [example(n=[1], none=None, empty=[]), example(n=[2], none=None, empty=[])]
    (tmp_path / "d.tfrecord").write_bytes(b"".join(records))
    found = rows(tmp_path / "d.tfrecord", tmp_path / "out")
    assert found == [{"empty": None, "n": n, "none": None} for n in (1, 2)]
