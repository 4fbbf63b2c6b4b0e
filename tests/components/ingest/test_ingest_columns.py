"""Columns that are chosen, left out and renamed, in every format."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingesting import ONE, fault, table

from edgeline.components.ingest.ingest import ingest

NAMES = ["sepal length (cm)", "image/encoded", "größe", "class", "Sepal.Length", "_id", "3d"]


def write(folder: Path, kind: str, rows: dict[str, list]) -> Path:
    file = folder / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table(rows), file)
    elif kind == "jsonl":
        lines = [
            dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)
        ]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        lines = [",".join(rows), *(",".join(map(str, v)) for v in zip(*rows.values(), strict=True))]
        file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_keep_the_names_that_the_data_has(kind, tmp_path):
    file = write(tmp_path, kind, {name: [place, 1] for place, name in enumerate(NAMES)})
    facts = ingest(str(file), tmp_path / "out", split_ratios=ONE)
    assert list(facts["columns"]) == NAMES
    assert table(tmp_path / "out").to_pylist()[0] == {name: i for i, name in enumerate(NAMES)}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"columns": {"b": True, "a": True}}, {"a": [1, 2], "b": [3, 4]}),
        ({"columns": {"a": False}}, {"b": [3, 4], "c": ["x", "y"]}),
        ({"rename": {"a": "b", "b": "a"}}, {"b": [1, 2], "a": [3, 4], "c": ["x", "y"]}),
        ({"columns": {"b": False}, "rename": {"c": "b"}}, {"a": [1, 2], "b": ["x", "y"]}),
    ],
)
def test_columns_are_chosen_left_out_and_renamed(kind, options, found, tmp_path):
    file = write(tmp_path, kind, {"a": [1, 2], "b": [3, 4], "c": ["x", "y"]})
    ingest(str(file), tmp_path / "out", split_ratios=ONE, **options)
    assert table(tmp_path / "out").to_pydict() == found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": {"d": False}}, "columns names a column 'd', but the data has a, b, c."),
        ({"rename": {"d": "e"}}, "rename names a column 'd', but the data has a, b, c."),
        ({"columns": {"a": "false"}}, "columns gives 'a' 'false': give true or false."),
        ({"columns": {"a": True, "b": False}}, "columns has both true and false"),
        ({"columns": dict.fromkeys("abc", False)}, "columns leaves out all of a, b, c: take one."),
        ({"rename": {"a": "b"}}, "rename calls 'a' as another column is called, 'b'"),
        ({"rename": {"a": "d", "b": "d"}}, "rename calls several columns 'd'"),
        ({"rename": {"a": " "}}, "rename gives 'a' no name"),
        ({"columns": {"a": False}, "rename": {"a": "d"}}, "'a', which columns leaves out"),
    ],
)
def test_what_cannot_be_taken_is_refused(options, said, tmp_path):
    file = write(tmp_path, "csv", {"a": [1, 2], "b": [3, 4], "c": ["x", "y"]})
    assert said in fault(file, tmp_path / "out", **options)


def test_a_column_can_decide_the_split_and_be_left_out(tmp_path):
    file = write(tmp_path, "csv", {"id": [row // 4 for row in range(400)], "a": list(range(400))})
    for folder, options in (("all", {}), ("without", {"columns": {"id": False}})):
        ingest(str(file), tmp_path / folder, split_key="id", **options)
    whole, chosen = (table(tmp_path / name, "eval") for name in ("all", "without"))
    assert chosen.column_names == ["a"]
    assert chosen.column("a").to_pylist() == whole.column("a").to_pylist()


def test_rows_that_are_equal_without_a_column_stay_together(tmp_path):
    file = write(tmp_path, "csv", {"id": list(range(60)), "a": [row % 6 for row in range(60)]})
    facts = ingest(str(file), tmp_path / "out", columns={"id": False})
    splits = [set(table(tmp_path / "out", split).column("a").to_pylist())
              for split, found in facts["splits"].items() if found["rows"]]  # fmt: skip
    assert len(splits) == 2
    assert not splits[0] & splits[1]


def test_a_column_that_no_example_can_hold_is_left_out_by_name(tmp_path):
    maps = pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))
    lists = pa.array([[[1], [2]]])
    pq.write_table(pa.table({"a": [1], "m": maps, "l": lists}), tmp_path / "rows.parquet")
    said = fault(tmp_path / "rows.parquet", tmp_path / "out", columns={"l": False})
    assert "column 'm': has the type map<string, int64" in said
    assert said.endswith('or leave it out with columns={"m": false}.')
    without = {"m": False, "l": False}
    ingest(str(tmp_path / "rows.parquet"), tmp_path / "out", split_ratios=ONE, columns=without)
    assert table(tmp_path / "out").to_pydict() == {"a": [1]}


def test_the_index_that_pandas_writes_without_a_name(tmp_path):
    (tmp_path / "rows.csv").write_text(",a\n0,5\n1,6\n")
    said = fault(tmp_path / "rows.csv", tmp_path / "out")
    assert 'column 1 has no name: name it, or leave it out with columns={"": false}.' in said
    ingest(str(tmp_path / "rows.csv"), tmp_path / "out", split_ratios=ONE, columns={"": False})
    assert table(tmp_path / "out").to_pydict() == {"a": [5, 6]}
    ingest(str(tmp_path / "rows.csv"), tmp_path / "row", split_ratios=ONE, rename={"": "row"})
    assert table(tmp_path / "row").to_pydict() == {"row": [0, 1], "a": [5, 6]}


def test_images_and_types_are_declared_by_the_names_that_the_data_has(tmp_path):
    (tmp_path / "rows.csv").write_text("zip code,a\n00042,1\n")
    ingest(
        str(tmp_path / "rows.csv"),
        tmp_path / "out",
        split_ratios=ONE,
        column_types={"zip code": "string"},
        rename={"zip code": "zip"},
    )
    assert table(tmp_path / "out").to_pydict() == {"zip": ["00042"], "a": [1]}
