"""JSON lines to examples, and what the server logged read for retraining."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.ingest import json_rows
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


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([2**64 + 1, 7, 2**64 + 3], "Column 'id' has 2 whole numbers that were rounded to doubles, the first 18446744073709551617 in a.jsonl, line 1: write identifiers as text."),  # noqa: E501
        ([0.5, 2**53 + 1, 2**60, 1e300], "has 1 whole numbers that were rounded to doubles, the first 9007199254740993 in a.jsonl, line 2"),  # noqa: E501
        ([[2**53 + 1, 1], [0.5, 2]], "the first 9007199254740993 in a.jsonl, line 1"),
        ([2**53 + 1, -(2**63)], None),
        ([2**60, 0.5, 1e300], None),
    ],
)  # fmt: skip
def test_whole_numbers_that_became_doubles_are_told(ids, said, tmp_path):
    data = write(tmp_path / "a.jsonl", *({"id": each, "x": 2**53 + 1} for each in ids))
    facts = ingest(data, tmp_path / "out", split_ratios={"train": 1})
    assert table(tmp_path / "out")["x"].to_pylist() == [2**53 + 1] * len(ids)
    assert [said in note for note in facts.get("notes", [])] == [True] * bool(said)


def test_a_fraction_in_another_block_rounds_too(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "BATCH_BYTES", 1)
    data = write(tmp_path / "a.jsonl", {"o": {"id": 2**53 + 1}}, {"o": None}, {"o": {"id": 0.5}})
    (note,) = ingest(data, tmp_path / "out", split_ratios={"train": 1})["notes"]
    assert "Column 'o.id' has 1 whole numbers" in note


def test_objects_are_a_column_for_each_field(tmp_path):
    rows = [
        {"at": {"lon": 8, "place": {"zone": "A"}}, "n": 1},
        {"at": None, "n": 2},
        {"at": {"lon": 0.5, "place": None, "tags": [1, 2]}, "n": 3},
    ]
    data = write(tmp_path / "a.jsonl", *rows)
    facts = ingest(data, tmp_path / "out", split_ratios={"train": 1})
    assert table(tmp_path / "out").to_pydict() == {
        "at.lon": [8.0, None, 0.5],
        "at.place.zone": ["A", None, None],
        "at.tags": [[None] * 2, [None] * 2, [1, 2]],
        "n": [1, 2, 3],
    }
    assert "notes" not in facts


@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        ({"at": False}, ["n"]),
        ({"at.tags": False}, ["at.lon", "n"]),
        ({"at.lon": True}, ["at.lon"]),
    ],
)
def test_an_object_is_left_out_as_a_whole_or_in_part(columns, kept, tmp_path):
    data = write(tmp_path / "a.jsonl", {"at": {"lon": 8, "tags": [{"a": 1}]}, "n": 1})
    facts = ingest(data, tmp_path / "out", split_ratios={"train": 1}, columns=columns)
    assert list(facts["columns"]) == kept


def test_objects_without_fields_are_told(tmp_path):
    data = write(tmp_path / "a.jsonl", {"o": {}, "n": 1})
    facts = ingest(data, tmp_path / "out", split_ratios={"train": 1})
    assert facts["notes"] == [
        "Column 'o' was left out: it holds objects without fields that are taken."
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
        (["{"], "a.jsonl, line 1: "),
        (["[1]"], "a.jsonl is an array of JSON: write its objects one a line"),
        ([{"a": 1}, "[1]"], "from line 1 on"),
        ([{"a": 1}, "", {"a": "x"}], r"a.jsonl, line 3: .* from number to string\)"),
        (['{"a": 1}{"a": "x"}'], "from line 1 on"),
        ([{"a": [{"b": 1}]}], 'or leave it out with columns={"a": false}'),
        ([{"a": {"b": 1}}, {"a": {"b": "x"}}], "a.jsonl, line 2: "),
        ([{"a": {"b": 1}, "a.b": 2}], "has two columns named 'a.b'"),
        ([{"a": [1, 2]}, {"a": [1]}], "row 2, column 'a'"),
    ],
)
def test_what_is_not_such_is_refused_in_a_sentence(tmp_path, rows, words):
    file = write(tmp_path / "a.jsonl", *rows)
    with pytest.raises(EdgelineError, match=words) as refused:
        ingest(file, tmp_path / "out")
    assert "a.jsonl" in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        (b'{"a": "x"}\n{"a": "\xfcber"}\n', 2, "fc"),
        (b'{"\xfcber": 1}\n', 1, "fc"),
        (b"\xff\xfe" + '{"a": 1}\n'.encode("utf-16-le"), 1, "ff"),
    ],
)
def test_text_in_another_encoding_is_refused(tmp_path, content, line, byte):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(EdgelineError) as refused:
        ingest(str(tmp_path / "a.jsonl"), tmp_path / "out")
    assert f"a.jsonl, line {line}: byte 0x{byte} is not UTF-8" in str(refused.value)


def test_the_line_is_told_in_a_later_block(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "BATCH_BYTES", 20)
    data = write(tmp_path / "a.jsonl", *[{"a": 1}] * 5, {"a": [1], "b": [1, "x"]})
    with pytest.raises(EdgelineError, match=r"a\.jsonl, line 6: "):
        ingest(data, tmp_path / "out")
