"""Avro files, written by fastavro as Spark and Kafka's tools write them."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ingesting import ONE, fault, table

from edgeline.components.ingest.ingest import ingest

UTC = dt.timezone.utc
AT = dt.datetime(2024, 3, 1, 12, 34, 56, 789_000, UTC)
NUMBER = uuid.UUID("12345678-1234-5678-1234-567812345678")
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
FIELDS: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "flag": ("boolean", [True, False], [1, 0]),
    "n": (["null", "int"], [None, 7], [None, 7]),
    "wide": ("long", [2**60 + 1, -1], [2**60 + 1, -1]),
    "half": ("float", [0.5, -1.5], [0.5, -1.5]),
    "either": (["null", "long", "double"], [1, 0.5], [1.0, 0.5]),
    "word": (["string", "null"], ["ä", None], ["ä", None]),
    "raw": ("bytes", [b"\xff", b""], [b"\xff", b""]),
    "key": ({"type": "fixed", "name": "K", "size": 2}, [b"ab", b"cd"], [b"ab", b"cd"]),
    "kind": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, ["A", "B"], ["A", "B"]),
    "again": (["null", "E"], ["B", None], ["B", None]),
    "pair": ({"type": "array", "items": "double"}, [[1.0, 2.0], [3.0, 4.0]], [[1, 2], [3, 4]]),
    "at": (
        {"type": "long", "logicalType": "timestamp-millis"},
        [AT, AT],
        [1_709_296_496_789_000] * 2,
    ),
    "local": (
        {"type": "long", "logicalType": "local-timestamp-micros"},
        [AT.replace(tzinfo=None)] * 2,
        [1_709_296_496_789_000] * 2,
    ),
    "day": (
        {"type": "int", "logicalType": "date"},
        [dt.date(1970, 1, 2)] * 2,
        [86_400_000_000] * 2,
    ),
    "time": (
        {"type": "int", "logicalType": "time-millis"},
        [dt.time(0, 0, 1)] * 2,
        [1_000_000] * 2,
    ),
    "fine": ({"type": "long", "logicalType": "timestamp-nanos"}, [1_500, -1], [1, -1]),
    "fare": (DECIMAL, [Decimal("1.50"), Decimal("-2.25")], [1.5, -2.25]),
    "id": ({"type": "string", "logicalType": "uuid"}, [NUMBER] * 2, [str(NUMBER)] * 2),
}
PLACE = {"type": "record", "name": "P", "fields": [{"name": "lon", "type": ["null", "double"]}]}


def write(path: Path, fields: dict[str, Any], rows: list[dict[str, Any]], codec: str) -> Path:
    import fastavro

    declared = [{"name": name, "type": kind} for name, kind in fields.items()]
    schema = {"type": "record", "name": "Row", "namespace": "a.b", "fields": declared}
    with open(path, "wb") as stream:
        fastavro.writer(stream, fastavro.parse_schema(schema), rows, codec)
    return path


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard"])
def test_every_type(codec: str, tmp_path: Path) -> None:
    types = {name: kind for name, (kind, _, _) in FIELDS.items()} | {"place": ["null", PLACE]}
    rows: list[dict[str, Any]] = [
        {name: values[row] for name, (_, values, _) in FIELDS.items()} for row in range(2)
    ]
    rows[0]["place"], rows[1]["place"] = {"lon": 8.5}, None
    file = write(tmp_path / "a.avro", types, rows, codec)
    ingest(str(file), tmp_path / "out", split_ratios=ONE)
    assert table(tmp_path / "out").to_pydict() == {
        **{name: wanted for name, (_, _, wanted) in FIELDS.items()},
        "place.lon": [8.5, None],
    }


def test_many_rows_come_in_their_order(tmp_path: Path) -> None:
    rows = [{"n": number} for number in range(10_000)]
    ingest(
        str(write(tmp_path / "a.avro", {"n": "long"}, rows, "deflate")),
        tmp_path / "out",
        split_ratios=ONE,
    )
    assert table(tmp_path / "out")["n"].to_pylist() == list(range(10_000))


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ({"type": "map", "values": "int"}, {"a": 1}, "a.avro, column 'c': has the type map<"),
        (["int", "string"], 1, "column 'c': has the type sparse_union<int64: int64=0, string: str"),
        (["null", "a.b.Row"], None, 'leave it out with columns={"c": false}'),
        (["long", "double"], 2**60 + 1, "column 'c': a value is not double"),
    ],
)
def test_types_that_are_refused(kind: Any, value: Any, said: str, tmp_path: Path) -> None:
    rows = [{"c": value, "d": 1, "p": {"lon": None}}]
    file = write(tmp_path / "a.avro", {"c": kind, "d": "int", "p": PLACE}, rows, "null")
    assert said in fault(file, tmp_path / "out")
    ingest(str(file), tmp_path / "taken", split_ratios=ONE, columns={"c": False})
    assert table(tmp_path / "taken").to_pydict() == {"d": [1], "p.lon": [None]}


def test_a_time_after_the_year_9999(tmp_path: Path) -> None:
    kind = {"type": "long", "logicalType": "timestamp-micros"}
    file = write(tmp_path / "a.avro", {"t": kind}, [{"t": 2**60}], "null")
    assert "a.avro is not a whole Avro file, or has what cannot be read" in fault(
        file, tmp_path / "out"
    )


@pytest.mark.parametrize("cut", [0, 10, -5])
def test_what_is_cut_is_told(cut: int, tmp_path: Path) -> None:
    file = write(tmp_path / "a.avro", {"n": "long"}, [{"n": n} for n in range(99)], "deflate")
    file.write_bytes(file.read_bytes()[:cut])
    assert "a.avro is not a whole Avro file" in fault(file, tmp_path / "out")
