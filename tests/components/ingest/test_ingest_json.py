"""JSON lines to examples, and what the server logged read for retraining."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.ingest.ingest import ingest
from edgeline.errors import EdgelineError


def table(folder) -> pa.Table:
    found = artifacts.read(folder, examples.SCHEMA)
    parts = [
        batch for split in examples.splits(found) for batch in examples.read_batches(found, split)
    ]
    return pa.Table.from_batches(parts)


def write(path, *rows) -> str:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return str(path)


def test_identifiers_beyond_64_bits_are_told(tmp_path):
    data = write(tmp_path / "a.jsonl", {"id": 2**64 + 1, "x": 0.5}, {"id": 2**64 + 2, "x": 1e9})
    facts = ingest(data, tmp_path / "out", split_ratios={"train": 1})
    assert facts["notes"] == [
        "Column 'id' has numbers beyond 64 bits, in a.jsonl from line 1 on, which were rounded to "
        "doubles: write identifiers as text."
    ]


def test_a_column_without_a_name(tmp_path):
    data = write(tmp_path / "a.jsonl", {"": 1, "x": 2})
    with pytest.raises(EdgelineError, match="has a column without a name: give it one with rename"):
        ingest(data, tmp_path / "out")
    ingest(data, tmp_path / "out", split_ratios={"train": 1}, rename={"": "row"})
    assert table(tmp_path / "out").to_pydict() == {"row": [1], "x": [2]}


def test_an_empty_list_is_a_missing_one(tmp_path):
    data = write(tmp_path / "a.jsonl", {"xs": []}, {"xs": [1, 2]}, {"xs": None}, {"xs": []})
    facts = ingest(data, tmp_path / "out", split_ratios={"train": 1})
    assert facts["columns"] == {"xs": "fixed_size_list<item: int64>[2]"}
    assert table(tmp_path / "out")["xs"].to_pylist() == [[None] * 2, [1, 2], [None] * 2, [None] * 2]


def test_types_are_settled_over_all_files(tmp_path):
    one = write(
        tmp_path / "a.jsonl",
        {"fare": 3, "company": "Blue", "paid": True, "at": "2026-11-21T06:57:46", "xs": [1, 2]},
        {"fare": None, "company": None, "paid": False, "at": "2026-11-21T07:00:00", "xs": None},
    )
    other = write(
        tmp_path / "b.jsonl.gz",
        {"fare": 4.5, "company": "Réd", "at": "late", "xs": [0.5, 1], "new": 7},
    )
    facts = ingest(f"{one},{other}", tmp_path / "out", split_ratios={"train": 1})
    assert facts["columns"] == {
        "fare": "double",
        "company": "string",
        "paid": "int64",
        "at": "string",
        "xs": "fixed_size_list<item: double>[2]",
        "new": "int64",
    }
    found = table(tmp_path / "out").to_pydict()
    assert found["fare"] == [3.0, None, 4.5]
    assert found["company"] == ["Blue", None, "Réd"]
    assert found["paid"] == [1, 0, None]
    assert found["at"] == ["2026-11-21T06:57:46", "2026-11-21T07:00:00", "late"]
    assert found["new"] == [None, None, 7]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["{"], "from line 1 on"),
        (["[1]"], "from line 1 on"),
        ([{"a": 1}, {"a": "x"}], "from line 1 on"),
        ([{"a": {"b": 1}}], "flatten it"),
        ([{"a": [1, 2]}, {"a": [1]}], "row 2, column 'a'"),
    ],
)
def test_what_is_not_such_is_refused_in_a_sentence(tmp_path, rows, words):
    file = write(tmp_path / "a.jsonl", *rows)
    with pytest.raises(EdgelineError, match=words) as refused:
        ingest(file, tmp_path / "out")
    assert "a.jsonl" in str(refused.value)
    assert not (tmp_path / "out").exists()
