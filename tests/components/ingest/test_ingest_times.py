"""Points in time are microseconds in UTC, from whatever source."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingesting import ONE, fault, table

from edgeline.components.ingest.ingest import ingest

MOMENT = 1709296496123456  # 2024-03-01 12:34:56.123456 UTC
TEXTS = {
    "2024-03-01T12:34:56.123456Z": MOMENT,
    "2024-03-01 12:34:56.123456 UTC": MOMENT,  # as BigQuery writes it
    "2024-03-01T13:34:56.123456789+01:00": MOMENT,
    "2024-03-01 12:34": 1709296440000000,
    "2024-03-01": 1709251200000000,
    "1969-12-31T23:59:59.9999999Z": -1,
    "1600-02-29": -11670998400000000,
    "9999-12-31T23:59:59Z": 253402300799000000,
}


def stored(data, folder, **options):
    ingest(str(data), folder / "out", split_ratios=ONE, **options)
    column = table(folder / "out").column("t")
    assert column.type in (pa.int64(), pa.list_(pa.int64(), 1))
    return column.to_pylist()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_that_is_declared(kind, tmp_path):
    rows = [*TEXTS, None]
    file = tmp_path / f"rows.{kind}"
    if kind == "csv":
        file.write_text("t,n\n" + "".join(f"{row or ''},1\n" for row in rows))
    else:
        file.write_text("".join(json.dumps({"t": row}) + "\n" for row in rows))
    types = {"t": "timestamp"}
    assert stored(file, tmp_path, column_types=types) == [*TEXTS.values(), None]


@pytest.mark.parametrize(
    ("kind", "value", "time"),
    [
        (pa.timestamp("us", "UTC"), MOMENT, MOMENT),
        (pa.timestamp("us", "Europe/Berlin"), MOMENT, MOMENT),  # the zone is for people
        (pa.timestamp("us"), MOMENT, MOMENT),
        (pa.timestamp("ms"), -1, -1000),
        (pa.timestamp("ns"), -1, -1),
        (pa.timestamp("ns"), 1999, 1),
        (pa.date32(), -1, -86400 * 10**6),
        (pa.list_(pa.timestamp("ms")), [5], [5000]),
        (pa.time32("s"), 3601, 3601 * 10**6),
        (pa.time64("ns"), 1999, 1),
        (pa.duration("ms"), -5, -5000),
        (pa.duration("ns"), -1, -1),
    ],
)
def test_parquet_has_them_by_type(kind, value, time, tmp_path):
    pq.write_table(pa.table({"t": pa.array([value, None], kind)}), tmp_path / "rows.parquet")
    missing = [None] if isinstance(value, list) else None
    assert stored(tmp_path / "rows.parquet", tmp_path) == [time, missing]


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.time64("ns"), pa.duration("ns")])
def test_nanoseconds_that_are_cut_are_told_with_the_first_row(kind, tmp_path):
    pq.write_table(
        pa.table({"t": pa.array([5000, None, 1999, 1], kind)}), tmp_path / "rows.parquet"
    )
    found = ingest(str(tmp_path / "rows.parquet"), tmp_path / "out", split_ratios=ONE)
    assert found["notes"] == [
        "Column 't' has times with nanoseconds, the first in rows.parquet, row 3, which were cut "
        "to microseconds."
    ]


def test_times_and_numbers_in_one_column_are_refused(tmp_path):
    for name, kind in (("1", pa.timestamp("ms")), ("2", pa.int64())):
        pq.write_table(pa.table({"t": pa.array([1], kind)}), tmp_path / f"{name}.parquet")
    said = fault(f"{tmp_path}/*.parquet", tmp_path / "out")
    assert "2.parquet, column 't': is int64, but timestamp[us, tz=UTC] in 1.parquet" in said


def test_a_file_without_a_time_has_the_type_of_the_others(tmp_path):
    for name, value, kind in (("1", None, pa.null()), ("2", MOMENT, pa.timestamp("us", "UTC"))):
        pq.write_table(pa.table({"t": pa.array([value], kind)}), tmp_path / f"{name}.parquet")
    assert stored(f"{tmp_path}/*.parquet", tmp_path) == [None, MOMENT]


@pytest.mark.parametrize("text", ["2024-02-30", "2024-03-01T24:00", "12:34", "1.3.2024", "x"])
def test_what_is_no_time_is_named(text, tmp_path):
    types = {"t": "timestamp"}
    (tmp_path / "rows.csv").write_text(f"t\n2024-03-01\n{text}\n")
    said = fault(tmp_path / "rows.csv", tmp_path / "out", column_types=types)
    assert f"row 3, column 't': '{text}' is not timestamp: fix it" in said
    (tmp_path / "rows.jsonl").write_text(json.dumps({"t": text}) + "\n")
    said = fault(tmp_path / "rows.jsonl", tmp_path / "out", column_types=types)
    assert "rows.jsonl, column 't', from line 1 on: Failed to parse string" in said


def test_a_column_that_holds_no_text_or_is_not_there(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"t": 5}\n')
    for name, said in (("t", "it holds int64"), ("u", "it is in no file")):
        types = {name: "timestamp"}
        assert said in fault(tmp_path / "rows.jsonl", tmp_path / "out", column_types=types)
