"""A sample: about its share of the rows, the same ones each time, of every split alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from ingesting import fault, table

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.cli.run import sampled
from edgeline.components.ingest.ingest import ingest
from edgeline.pipelines.parameter import of_form

ROWS = 4000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    lines = [f"{n},{n % 50},{n * 7 % 101 / 4}" for n in range(ROWS)]
    file.write_text("\n".join(["row,key,value", *lines]) + "\n")
    return file


def test_it_is_about_its_share_of_each_split_and_the_same_each_time(data, tmp_path) -> None:
    whole, some, again = tmp_path / "whole", tmp_path / "some", tmp_path / "again"
    ingest(str(data), whole)
    told = ingest(str(data), some, sample=0.1)
    ingest(str(data), again, sample=0.1)
    assert told["sample"] == 0.1 and "about 0.1 of the rows were taken" in told["notes"][0]
    counts = {name: len(table(some, name)) for name in ("train", "eval")}
    assert 180 < counts["train"] < 360 and 80 < counts["eval"] < 190, counts
    for name in counts:
        taken = table(some, name).column("row").to_pylist()
        assert {*taken} <= {*table(whole, name).column("row").to_pylist()}  # in its own split
        assert taken == table(again, name).column("row").to_pylist() == sorted(taken)
    read = artifacts.read(some, examples.SCHEMA)
    assert read.metadata["columns"] == artifacts.read(whole, examples.SCHEMA).metadata["columns"]


def test_rows_with_one_key_are_taken_together(data, tmp_path) -> None:
    ingest(str(data), tmp_path / "some", sample=0.3, split_key="key", split_ratios={"all": 1})
    keys = table(tmp_path / "some").column("key").to_pylist()
    assert 2 < len({*keys}) < 30
    assert {keys.count(key) for key in keys} == {ROWS // 50}


def test_whole_series_are_taken(data, tmp_path) -> None:
    windows = {"size": 4, "time": "row", "key": "key", "columns": ["value"]}
    ingest(str(data), tmp_path / "all", split_key="key", windows=windows)
    ingest(str(data), tmp_path / "some", split_key="key", windows=windows, sample=0.4)
    whole = table(tmp_path / "all", "train").to_pylist()
    some = table(tmp_path / "some", "train").to_pylist()
    keys = {row["key"] for row in some}
    assert 0 < len(some) < len(whole)
    assert [row for row in whole if row["key"] in keys] == some
    said = fault(data, tmp_path / "no", windows={**windows, "key": ""}, sample=0.5,
                 split_by={"time": "row"})  # fmt: skip
    assert said.startswith("sample takes whole series, but windows has no key")


@pytest.mark.parametrize("share", [0, -1, 1.5, "half"])
def test_what_is_no_share_is_refused(data, tmp_path, share) -> None:
    assert "give a share of the rows above 0" in fault(data, tmp_path / "no", sample=share)


def test_a_sample_without_a_row_is_refused(tmp_path) -> None:
    (tmp_path / "few.csv").write_text("a\n1\n2\n")
    said = fault(tmp_path / "few.csv", tmp_path / "no", sample=1e-9)
    assert said == "A sample of 1e-09 leaves no row of few.csv: take a larger one."


def test_a_run_on_a_sample_publishes_where_no_device_looks(tmp_path) -> None:
    form = of_form("tabular")
    aside = f"destination={tmp_path / 'samples'}"
    assert sampled((), form, 0.05, tmp_path) == [
        "sample=0.05", aside, "signing_keys=", "candidate=", "sites=[]",
    ]  # fmt: skip
    assert sampled(("destination=elsewhere",), form, 0.05, tmp_path) == ["sample=0.05"]
    assert sampled((), of_form("pretrained"), 0.5, tmp_path) == [
        "sample=0.5",
        aside,
        "signing_keys=",
    ]
