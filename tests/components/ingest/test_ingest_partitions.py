"""Columns that a table has in its folders, written by pyarrow as Spark and pandas do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline.components.ingest.ingest import ingest
from edgeline.errors import EdgelineError

ROWS = {
    "weight": [1, 2, 3, 4],
    "label": ["cat", "a/b=ü 100%", None, "cat"],
    "year": [2024, 2025, 2025, -1],
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    pq.write_to_dataset(pa.table(ROWS), tmp_path / "data", partition_cols=["label", "year"])
    (tmp_path / "data" / "_SUCCESS").touch()
    return tmp_path


def read(data: str, out: Path) -> dict[str, list[Any]]:
    ingest(data, out, split_ratios={"all": 1})
    parts = sorted((out / "all").glob("*.parquet"))
    found = pa.concat_tables([pq.ParquetFile(part).read() for part in parts])
    return found.sort_by("weight").to_pydict()


@pytest.mark.parametrize("pattern", ["", "/*/*/*.parquet", "/**/*.parquet"])
def test_all_folders_of_a_table(written: Path, pattern: str) -> None:
    assert read(f"{written}/data{pattern}", written / "out") == ROWS


def test_a_folder_or_file_of_it_has_the_columns_of_the_folders_above(written: Path) -> None:
    found = {"weight": [1, 4], "label": ["cat", "cat"], "year": [2024, -1]}
    assert read(f"{written}/data/label=cat", written / "out") == found
    (file,) = (written / "data" / "label=cat" / "year=2024").iterdir()
    alone = {name: values[:1] for name, values in found.items()}
    assert read(str(file), written / "one") == alone


@pytest.mark.parametrize(("ending", "text"), [("csv", "weight\n5\n"), ("jsonl", '{"weight": 5}\n')])
@pytest.mark.parametrize(("values", "kept"), [("07 8", ["07", "8"]), ("7 8", [7, 8])])
def test_of_text_too_and_leading_zeros_stay(
    ending: str, text: str, values: str, kept: list[Any], tmp_path: Path
) -> None:
    for value in values.split():
        folder = tmp_path / "data" / f"store={value}"
        folder.mkdir(parents=True)
        (folder / f"part.{ending}").write_text(text)
    found = read(str(tmp_path / "data"), tmp_path / "out")
    assert found == {"weight": [5, 5], "store": kept}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a=1/x.csv", "x.csv"], "x.csv lies in folders that name no column, but a=1/x.csv in"),
        (["a=1/x.csv", "b=1/x.csv"], "b=1/x.csv lies in folders that name 'b', but a=1/x.csv in"),
        (["weight=1/x.csv"], "Column 'weight' is in the folders of weight=1/x.csv and in the file"),
        (["a=1/a=2/x.csv"], "name 'a' twice: rename one"),
    ],
)
def test_folders_that_do_not_agree(files: list[str], said: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("weight\n5\n")
    with pytest.raises(EdgelineError, match=said):
        ingest(str(tmp_path / "data"), tmp_path / "out", split_ratios={"all": 1})
    assert not (tmp_path / "out").exists()


def dated(folder: Path, *days: str) -> str:
    for day in days:
        (folder / f"data/day={day}").mkdir(parents=True)
        pq.write_table(pa.table({"weight": [5]}), folder / f"data/day={day}/part.parquet")
    return str(folder / "data")


def test_days_in_folders_are_times_as_declared(tmp_path: Path) -> None:
    data, by = dated(tmp_path, "2026-01-01", "2026-01-02"), {"time": "day"}
    with pytest.raises(EdgelineError, match=r"of CSV, JSON and folders' names"):
        ingest(data, tmp_path / "out", split_by=by)
    facts = ingest(data, tmp_path / "out", split_by=by, column_types={"day": "timestamp"})
    assert facts["split_by"] == {"time": "day", "cuts": ["2026-01-02T00:00:00Z"]}
    assert facts["columns"] == {"weight": "int64", "day": "int64"}


@pytest.mark.parametrize(
    ("days", "options", "said"),
    [
        (
            ["2026-01-01", "today"],
            {"column_types": {"day": "timestamp"}},
            "day=today/part.parquet: its folder says day=today, which is not timestamp",
        ),
        (
            ["2026-01-01"],
            {"column_types": {"day": "date"}},
            "column_types gives 'day' the type 'date'",
        ),
        (["2026-01-01"], {"column_types": {"weight": "string"}}, "column_types is for CSV"),
        (
            ["2026-01-01"],
            {"columns": {"day": True}},
            "leaves out all that day=2026-01-01/part.parquet has beside its folders",
        ),
    ],
)
def test_folders_that_are_not_as_declared(
    days: list[str], options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(EdgelineError, match=said):
        ingest(dated(tmp_path, *days), tmp_path / "out", **options)
