"""Windows over time: rows of a series as one row, and what is in none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingesting import ONE, fault, table

from edgeline.artifacts.features import from_arrow_schema, to_numpy
from edgeline.artifacts.windows import Windows
from edgeline.components.ingest import placed_rows, window_rows
from edgeline.components.ingest.ingest import ingest

PUMPS = {"size": 3, "time": "when", "key": "pump", "columns": ["pressure"]}
Row = dict[str, Any]


def write(path: Path, rows: list[Row], pieces: int = 1) -> Path:
    """Rows as a folder of Parquet files, in their order."""
    path.mkdir()
    kinds = {"pump": pa.string(), "when": pa.int64(), "pressure": pa.float32()}
    names = [*kinds, *sorted(set(rows[0]) - set(kinds))]
    schema = pa.schema([(name, kinds.get(name, pa.int64())) for name in names])
    for number in range(pieces):
        part = rows[number * len(rows) // pieces : (number + 1) * len(rows) // pieces]
        pq.write_table(pa.Table.from_pylist(part, schema), path / f"{number}.parquet")
    return path


def expected(rows: list[Row], windows: dict[str, Any]) -> tuple[list[Row], Counter[str]]:
    """The windows of some rows, one after the other, and what is in none."""
    size, stride, gap = windows["size"], windows.get("stride", 1), windows.get("max_gap")
    counts: Counter[str] = Counter()
    series: dict[str, list[Row]] = {}
    for row in rows:
        if row["when"] is None:
            counts["no_time"] += 1
        elif not row["pump"]:
            counts["no_key"] += 1
        else:
            series.setdefault(row["pump"], []).append(row)
    found = []
    for own in series.values():
        pieces: list[list[Row]] = []
        last = None
        for row in sorted(own, key=lambda row: row["when"]):
            if last is not None and row["when"] == last:
                counts["same_time"] += 1
                continue
            if last is None or (gap is not None and row["when"] - last > gap):
                pieces.append([])
            pieces[-1].append(row)
            last = row["when"]
        before = len(found)
        for piece in pieces:
            covered = set()
            for start in range(0, len(piece) - size + 1, stride):
                of = piece[start : start + size]
                covered |= set(range(start, start + size))
                found.append({**of[-1], "pressure": [row["pressure"] for row in of]})
            counts["behind" if covered else "short"] += len(piece) - len(covered)
        counts["short_series"] += len(found) == before
    return found, +counts


def by_key(found: list[Row]) -> list[Row]:
    return sorted(found, key=lambda row: (row["pump"], row["when"]))


@pytest.mark.parametrize("seed", range(6))
def test_windows_are_those_of_each_series_in_order(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of the rows, however many at a time, and with files that are divided."""
    random = np.random.default_rng(seed)
    windows: dict[str, Any] = {
        **PUMPS,
        "size": int(random.integers(2, 5)),
        "stride": int(random.integers(1, 7)),
    }
    if seed % 2:
        windows["max_gap"] = int(random.integers(3, 9))
    monkeypatch.setattr(window_rows, "FILES", 3)
    if seed % 3 == 0:
        monkeypatch.setattr(window_rows, "MOST_BYTES", 3_000)
    monkeypatch.setattr(window_rows, "BATCH_BYTES", 1000)
    rows = [
        {
            "pump": [None, "", "a", "b", "c", "d", "e", "f", "g"][random.integers(0, 9)],
            "when": None if random.random() < 0.02 else int(random.integers(0, 60)),
            "pressure": None if random.random() < 0.1 else float(np.float32(random.normal())),
            "y": number,
        }
        for number in range(int(random.integers(60, 200)))
    ]
    if seed % 3 == 0:  # files of one series that are too large to be sorted are cut as they are
        rows.sort(key=lambda row: (row["when"] is None, row["when"]))
    facts = ingest(
        str(write(tmp_path / "d", rows, pieces=3)),
        tmp_path / "out",
        split_ratios=ONE,
        windows=windows,
    )
    found, counts = expected(rows, windows)
    assert by_key(table(tmp_path / "out").to_pylist()) == by_key(found)
    placed = placed_rows.PlacedRows(Windows.from_json(facts["windows"]))
    for name, count in counts.items():
        setattr(placed.dropped, name, count)
    assert facts.get("left_out_of_windows", {}) == placed.dropped.told(placed.windows)


def pumps(lengths: dict[str, int], step: int = 1) -> list[Row]:
    return [
        {"pump": pump, "when": step * n, "pressure": float(n), "y": n % 2}
        for n in range(max(lengths.values()))
        for pump, length in lengths.items()
        if n < length
    ]


def test_what_is_in_no_window_is_told_by_name(tmp_path: Path) -> None:
    rows = pumps({"a": 7, "b": 2})
    rows += [{**rows[0], "y": 1}, {**rows[0], "when": None}, {**rows[0], "pump": None}]
    page = tmp_path / "page.html"
    facts = ingest(
        str(write(tmp_path / "d", rows)),
        tmp_path / "out",
        split_ratios=ONE,
        windows={**PUMPS, "stride": 2.0, "kept_by": "server"},
        rename={"pressure": "bar"},
        examples_report_path=page,
    )
    told = {
        "rows without when": 1,
        "rows without pump": 1,
        "rows with the when and pump of an earlier row": 1,
        "rows of series with fewer than 3 rows": 2,
        "series without a window, by pump": 1,
    }
    assert facts["left_out_of_windows"] == told
    assert "1 rows without when, 1 rows without pump, 1 rows with" in facts["warnings"][0]  # type: ignore[index]
    assert "3 rows of bar by pump, in order of when; the server keeps them" in page.read_text()
    assert facts["windows"] == {
        "size": 3, "time": "when", "columns": ["bar"], "key": "pump", "key_dtype": "string",
        "stride": 2, "max_gap": None, "kept_by": "server",
    }  # fmt: skip
    assert table(tmp_path / "out").to_pylist() == [
        {"pump": "a", "when": 2, "bar": [0.0, 1.0, 2.0], "y": 0},
        {"pump": "a", "when": 4, "bar": [2.0, 3.0, 4.0], "y": 0},
        {"pump": "a", "when": 6, "bar": [4.0, 5.0, 6.0], "y": 0},
    ]


def test_the_last_row_gives_label_key_and_time_and_they_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(
        "at,site,x,y\n2026-01-01T00:00:02Z,7,3,1\n2026-01-01T00:00:00Z,7,1,0\n"
        "2026-01-01T00:00:01Z,7,,0\n2026-01-01T00:00:00Z,8,9,1\n2026-01-01T00:00:01Z,8,8,0\n"
    )
    facts = ingest(
        str(tmp_path / "d.csv"),
        tmp_path / "out",
        split_ratios=ONE,
        column_types={"at": "timestamp"},
        columns={"at": False, "site": False},
        windows={"size": 2, "time": "at", "key": "site", "columns": ["x"]},
    )
    assert table(tmp_path / "out").to_pylist() == [
        {"x": [1, None], "y": 0},
        {"x": [None, 3], "y": 1},
        {"x": [9, 8], "y": 0},
    ]
    assert facts["windows"]["key_dtype"] == "int64"  # type: ignore[index]


def test_lists_become_windows_of_lists_and_a_missing_one_stays_missing(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "when": pa.array([3, 1, 2], pa.int64()),
            "axes": pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(pa.float32())),
        }
    )
    pq.write_table(rows, tmp_path / "d.parquet")
    windows = {"size": 3, "time": "when", "columns": ["axes"]}
    ingest(str(tmp_path / "d.parquet"), tmp_path / "out", split_ratios=ONE, windows=windows)
    found = table(tmp_path / "out").combine_chunks()
    (feature,) = [each for each in from_arrow_schema(found.schema) if each.name == "axes"]
    assert feature.shape == (3, 2)
    (axes,) = to_numpy(found.to_batches()[0], [feature])["axes"]
    nan = np.nan
    np.testing.assert_array_equal(axes, np.float32([[nan, nan], [3.0, nan], [1.0, 2.0]]))


def test_no_window_reaches_over_a_cut_in_time(tmp_path: Path) -> None:
    data = write(tmp_path / "d", pumps({"a": 10, "b": 10}))
    by = {"time": "when", "cuts": [6]}
    facts = ingest(str(data), tmp_path / "out", split_by=by, windows=PUMPS)
    assert facts["left_out_of_windows"] == {"windows across splits": 4}
    train, later = (table(tmp_path / "out", name).to_pylist() for name in ("train", "eval"))
    assert [row["when"] for row in train if row["pump"] == "a"] == [2, 3, 4, 5]
    assert [row["when"] for row in later if row["pump"] == "a"] == [8, 9]
    shares = ingest(str(data), tmp_path / "shares", split_by={"time": "when"}, windows=PUMPS)
    assert shares["left_out_of_windows"] == {"windows across splits": 4}
    keyed = ingest(str(data), tmp_path / "keyed", split_key="pump", windows=PUMPS)
    assert "left_out_of_windows" not in keyed


def test_rows_without_time_have_no_split_by_time_and_are_counted(tmp_path: Path) -> None:
    rows = [*pumps({"a": 9}), {"pump": "a", "when": None, "pressure": 0.0, "y": 0}]
    facts = ingest(
        str(write(tmp_path / "d", rows)), tmp_path / "out", split_by={"time": "when"}, windows=PUMPS
    )
    left_out = facts["left_out_of_windows"]
    assert left_out == {"rows without when": 1, "windows across splits": 2}


@pytest.mark.parametrize(
    ("windows", "options", "said"),
    [
        ({}, {"split_key": ""}, "a hash of each window would put windows that share rows"),
        ({}, {"split_key": "", "split_by": {"stratify": "y"}}, "split_by['stratify'] puts windows"),
        ({}, {"split_key": ""}, 'split by split_key="pump" or split_by={"time": "when"}'),
        ({"window": 3}, {}, "windows has 'window', which it does not take. It takes size"),
        ({"size": 1}, {}, "windows['size'] is 1: give a whole number of at least 2"),
        ({"stride": 0.5}, {}, "windows['stride'] is 0.5: give a whole number of at least 1"),
        ({"time": ""}, {}, "windows['time'] is '': give the name of a column"),
        ({"columns": []}, {}, "windows['columns'] is []: give a list"),
        ({"columns": ["when"]}, {}, "'when', which is the time and that of the last row"),
        ({"columns": ["flow"]}, {}, "'flow', but what is taken of the data has pump, when"),
        ({"key": "valve"}, {}, "windows['key'] names a column 'valve', but the data has pump"),
        (
            {"key": "pressure", "columns": ["y"]},
            {},
            "windows['key'] names 'pressure', which holds float: name",
        ),
        ({"time": "pressure", "columns": ["y"]}, {}, "names 'pressure', which holds float: name"),
        ({"kept_by": "me"}, {}, "windows['kept_by'] is 'me': give client or server"),
        ({"max_gap": 1}, {}, "no window of 3 rows (windows leave out 9 rows of series or pieces"),
        ({"max_gap": 1}, {}, "or a larger max_gap than 1, which is in the unit of 'when'"),
        ({"size": 10}, {}, "no window of 10 rows (windows leave out 9 rows of series with fewer"),
    ],
)
def test_windows_that_cannot_be_are_refused(
    windows: dict[str, Any], options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    data = write(tmp_path / "d", pumps({"a": 9}, step=10))
    given = {**PUMPS, **windows}
    found = fault(data, tmp_path / "out", windows=given, **{"split_key": "pump", **options})
    assert said in found


def test_a_series_too_long_to_be_sorted_is_refused_unless_it_is_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_rows, "MOST_BYTES", 1000)
    rows = pumps({"a": 200, "b": 3})
    ingest(str(write(tmp_path / "d", rows)), tmp_path / "out", split_ratios=ONE, windows=PUMPS)
    assert table(tmp_path / "out").num_rows == 199
    mixed = write(tmp_path / "mixed", rows[::-1])
    said = fault(mixed, tmp_path / "not", split_ratios=ONE, windows=PUMPS)
    assert said.startswith("The rows of pump 'a' are not in order of 'when', and are more than")
    assert said.endswith("sort them by 'when' where they are written, or take fewer columns.")
