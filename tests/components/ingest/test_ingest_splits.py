"""Splits by a column, by time and by label; rows that are equal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingesting import fault, table

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.ingest import equal_rows
from edgeline.components.ingest.ingest import ingest
from edgeline.pipelines import taxi as taxi_pipeline
from edgeline.starter import wine as wine_folder

WINE = Path(wine_folder.__path__[0]) / "wine.csv"
TAXI = Path(taxi_pipeline.__path__[0]) / "taxi.csv"


def split(data: Path, output: Path, by: dict[str, Any], **options: Any) -> dict[str, Any]:
    return ingest(str(data), output, split_by=by, **options)  # type: ignore[return-value]


def rows_of(facts: dict[str, Any]) -> dict[str, int]:
    return {name: each["rows"] for name, each in facts["splits"].items()}


def test_a_column_says_the_split(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    data.write_text("x,fold\n1,train\n2, test\n3,validation\n4,train\n")
    by = {"column": "fold", "names": {"validation": "eval"}}
    page = tmp_path / "page.html"
    facts = split(data, tmp_path / "out", by, examples_report_path=page)
    assert rows_of(facts) == {"eval": 1, "test": 1, "train": 2}
    assert table(tmp_path / "out", "eval").column("x").to_pylist() == [3]
    assert facts["split_by"] == {"column": "fold"}
    assert "split as fold says" in page.read_text()


def test_a_folder_of_a_table_says_the_split_and_no_feature_is_left_of_it(tmp_path: Path) -> None:
    for name, x in (("train", 1), ("eval", 2)):
        part = tmp_path / "d" / f"split={name}" / "part-0.parquet"
        part.parent.mkdir(parents=True)
        pq.write_table(pa.table({"x": [x]}), part)
    out = tmp_path / "out"
    split(tmp_path / "d", out, {"column": "split"}, columns={"split": False})
    assert table(out, "eval").to_pylist() == [{"x": 2}]


def test_what_comes_later_is_eval(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    days = np.random.default_rng(0).permutation(90)
    times = np.datetime64("2026-01-01") + days
    data.write_text("\n".join(["when,x", *(f"{each},{n}" for n, each in enumerate(times))]))
    types = {"when": "timestamp"}
    facts = split(
        data, tmp_path / "shares", {"time": "when"}, column_types=types, columns={"when": False}
    )
    assert rows_of(facts) == {"train": 60, "eval": 30}
    assert facts["split_by"] == {"time": "when", "cuts": ["2026-03-02T00:00:00Z"]}
    later = set(table(tmp_path / "shares", "eval").column("x").to_pylist())
    assert later == {n for n, day in enumerate(days) if day >= 60}
    ratios = {"train": 8, "eval": 1, "test": 1}
    by = {"time": "when", "cuts": ["2026-03-01", "2026-03-11T00:00+00:00"]}
    facts = split(data, tmp_path / "cuts", by, column_types=types, split_ratios=ratios)
    assert rows_of(facts) == {"train": 59, "eval": 10, "test": 21}


@pytest.mark.slow
def test_taxi_trips_are_split_by_their_time(tmp_path: Path) -> None:
    facts = split(TAXI, tmp_path / "out", {"time": "trip_start_timestamp"})
    assert rows_of(facts)["eval"] == pytest.approx(sum(rows_of(facts).values()) / 3, rel=0.01)
    first, last = (
        table(tmp_path / "out", name).column("trip_start_timestamp") for name in ("train", "eval")
    )
    assert max(first.to_pylist()) < min(last.to_pylist())


def test_each_label_has_its_share_in_any_order(tmp_path: Path) -> None:
    lines = [f"{n},{'rare' if n % 100 == 0 else 'usual'}" for n in range(900)]
    for name, ordered in (("a", lines), ("b", lines[::-1])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["x,y", *ordered]))
        facts = split(tmp_path / f"{name}.csv", tmp_path / name, {"stratify": "y"})
        assert rows_of(facts) == {"eval": 300, "train": 600}
        assert Counter(table(tmp_path / name, "eval").column("y").to_pylist())["rare"] == 3
    one, other = (set(table(tmp_path / n, "eval").column("x").to_pylist()) for n in "ab")
    assert one == other


def test_a_split_without_rows_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x,y\n" + "1,a\n" * 30 + "2,b\n" * 30)
    facts = split(tmp_path / "d.csv", tmp_path / "out", {"stratify": "y"})
    assert rows_of(facts) == {"eval": 0, "train": 60}
    assert facts["warnings"] == [
        "eval has no row (rows that are equal are in one split), so nothing can be evaluated or "
        "trained on it"
    ]


def test_frequent_labels_have_their_shares_nearly(tmp_path: Path) -> None:
    labels = np.where(np.arange(60_000) % 3 == 0, "a", "b")
    pq.write_table(pa.table({"x": np.arange(60_000), "y": labels}), tmp_path / "d.parquet")
    ratios = {"train": 0.8, "eval": 0.1, "test": 0.1}
    split(tmp_path / "d.parquet", tmp_path / "out", {"stratify": "y"}, split_ratios=ratios)
    counts = Counter(table(tmp_path / "out", "test").column("y").to_pylist())
    assert counts == {"a": pytest.approx(2_000, abs=12), "b": pytest.approx(4_000, abs=24)}


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ({"time": "x", "stratify": "y"}, "give one of"),
        ({"times": "x"}, "give one of"),
        ({"stratify": "y", "cuts": [1]}, "split_by has 'cuts', which 'stratify' does not take"),
        ({"time": 3}, "split_by['time'] is 3: give the name of a column"),
        (
            {"time": "when"},
            "names a column 'when', but the data has x, y, text, fold: ",
        ),
        ({"time": "text"}, 'column_types={"text": "timestamp"}'),
        ({"time": "y"}, "d.csv, data row 3: 'y' has no time"),
        ({"time": "x", "cuts": [1, 2]}, "has 2 values for the splits train, eval"),
        ({"time": "x", "cuts": [9]}, "leaves no rows to eval: 'x' goes from 1 to 4, and the cuts"),
        ({"time": "x", "cuts": ["2026-01-01"]}, "which are not microseconds since 1970"),
        ({"time": "x", "cuts": ["soon"]}, "not microseconds"),
        ({"column": "y"}, "d.csv, data row 3: 'y' has no value"),
        ({"column": "text"}, 'for example with split_by={"column": "text", "names": {"a b"'),
        ({"column": "x"}, "has the values '1', '2', '3', '4' and none is train"),
        ({"column": "x", "names": {"7": "train"}}, "names a value '7'"),
        ({"column": "x", "names": ["7"]}, "give a value of the column and its split"),
        (
            {"column": "fold"},
            "'Train' and 'train', which differ in capitals alone: ",
        ),
        ({"stratify": "z"}, "names a column 'z'"),
    ],
)
def test_what_cannot_be_split_so_is_refused(by: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(
        "x,y,text,fold\n1,1,a b,train\n2,2,a,Train\n3,,b,eval\n4,4,c,eval\n"
    )
    assert said in fault(tmp_path / "d.csv", tmp_path / "out", split_by=by)


def test_a_key_and_another_way_are_refused_together(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x\n1\n2\n")
    said = fault(tmp_path / "d.csv", tmp_path / "out", split_key="x", split_by={"stratify": "x"})
    assert said.startswith("split_key and split_by['stratify'] both say how to split")


def test_equal_rows_are_counted_and_those_that_eval_has_of_train_are_a_warning(
    tmp_path: Path,
) -> None:
    (tmp_path / "d.csv").write_text("x,fold\n1,train\n1,train\n2,train\n1,eval\n3,eval\n")
    page = tmp_path / "page.html"
    options = {"columns": {"fold": False}, "examples_report_path": page}
    facts = split(tmp_path / "d.csv", tmp_path / "out", {"column": "fold"}, **options)
    assert facts["equal_rows"] == {"train": 1}
    (warning,) = facts["warnings"]
    assert warning == "1 of the 2 rows of eval equal a row of train, so the model has seen them"
    assert warning in page.read_text()
    assert artifacts.read(tmp_path / "out", examples.SCHEMA).metadata["warnings"] == [warning]


def test_of_many_rows_the_equal_ones_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equal_rows, "MOST", 1_000)
    counted = equal_rows.EqualRows()
    hashes = np.random.default_rng(0).integers(0, 2**64, 50_000, np.uint64)
    for block in np.array_split(np.concatenate([hashes, hashes[:10_000]]), 100):
        counted.update(block, np.zeros(len(block), np.int64))
    counted.update(hashes[:5_000], np.ones(5_000, np.int64))
    assert counted.within(["train", "eval"])["train"] == pytest.approx(10_000, rel=0.2)
    (said,) = counted.warnings(["train", "eval"], [60_000, 5_000])
    assert said.startswith("about ") and "rows of eval equal a row of train" in said


def test_the_wine_s_cultivars_have_the_same_shares(tmp_path: Path) -> None:
    by = {"stratify": WINE.read_text().partition("\n")[0].split(",")[-1]}
    facts = split(WINE, tmp_path / "out", by)
    assert rows_of(facts) == {"eval": 60, "train": 118}  # of 59, 71 and 48 rows


def test_a_column_that_names_its_rows_is_told(tmp_path: Path) -> None:
    rows = [f"{n},t{n},{n * n},{n % 7}" for n in range(120)]
    (tmp_path / "d.csv").write_text("\n".join(["id,name,square,day", *rows]))
    facts = ingest(str(tmp_path / "d.csv"), tmp_path / "out")
    first, second = facts["notes"]
    assert first.startswith("column 'id' has another value in each row")
    assert second.startswith("column 'name' has another value in each row")
