"""CSV in, examples out: types, gaps, and every fault by file, row and column."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import string
from importlib import resources
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.ingest import csv_rows
from edgeline.components.ingest.ingest import ingest
from edgeline.errors import EdgelineError

TAXI = str(resources.files("edgeline.pipelines.taxi").joinpath("taxi.csv"))
ONE = {"all": 1}


def table(output: Path, split: str = "all") -> pa.Table:
    artifact = artifacts.read(output, examples.SCHEMA)
    return pa.Table.from_batches(examples.read_batches(artifact, split))


def columns(folder: Path, text: str | bytes, **options: Any) -> dict[str, list[Any]]:
    """What a CSV text becomes, all in one split."""
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    ingest(str(path), folder / "out", split_ratios=ONE, **options)
    found: dict[str, list[Any]] = table(folder / "out").to_pydict()
    return found


def fault(folder: Path, text: str | bytes, **options: Any) -> str:
    """What is said of a CSV text that is wrong; nothing may be left behind."""
    with pytest.raises(EdgelineError) as caught:
        columns(folder, text, **options)
    assert [path.name for path in folder.iterdir()] == ["data.csv"]
    return str(caught.value)


@pytest.fixture(scope="module")
def taxi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("taxi") / "examples"
    ingest(TAXI, output, examples_report_path=output.with_name("report.html"))
    return output


def test_taxi_keeps_every_row_and_splits_two_to_one(taxi: Path) -> None:
    rows = examples.splits(artifacts.read(taxi, examples.SCHEMA))
    assert sum(rows.values()) == 15_002
    # equal rows go together, so the share varies a little more than a coin's
    assert rows["train"] / 15_002 == pytest.approx(2 / 3, abs=4 * (2 / 9 / 15_002) ** 0.5)
    assert "15,002" in taxi.with_name("report.html").read_text()


def test_taxi_values_are_those_of_the_file_in_its_order(taxi: Path) -> None:
    with open(TAXI, newline="") as file:
        wanted = list(csv.DictReader(file))
    kinds = {pa.int64(): int, pa.float64(): float, pa.string(): str}
    found = {split: iter(table(taxi, split).to_pylist()) for split in ("train", "eval")}
    schema = table(taxi, "eval").schema
    hashes = [
        hashlib.blake2b("\x1f".join(row.values()).encode(), digest_size=8).hexdigest()
        for row in wanted
    ]
    for row, text in zip(wanted, hashes, strict=True):
        split = "eval" if int(text, 16) < 2**64 / 3 else "train"
        assert next(found[split]) == {
            name: kinds[schema.field(name).type](cell) if cell else None
            for name, cell in row.items()
        }
    assert all(next(rows, None) is None for rows in found.values())


def test_taxi_types_and_sources(taxi: Path) -> None:
    metadata = artifacts.read(taxi, examples.SCHEMA).metadata
    types = metadata["columns"]
    assert types["company"] == types["payment_type"] == "string"
    assert types["fare"] == types["trip_miles"] == types["tips"] == "double"
    assert types["trip_start_hour"] == types["pickup_community_area"] == "int64"
    sha256 = hashlib.sha256(Path(TAXI).read_bytes()).hexdigest()
    (source,) = metadata["sources"]
    assert (source["name"], source["sha256"]) == ("taxi.csv", sha256)
    assert metadata["data_digest"] == sha256


def test_a_second_run_gives_the_same_bytes(taxi: Path, tmp_path: Path) -> None:
    again = ingest(TAXI, tmp_path / "again")
    first, second = (artifacts.read(path, examples.SCHEMA) for path in (taxi, tmp_path / "again"))
    assert first.digest == second.digest
    assert again == {"edgeline_schema": "examples/v1", **first.metadata}


def test_the_size_of_blocks_does_not_show(
    taxi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", 10_000)
    ingest(TAXI, tmp_path / "out")
    assert artifacts.read(tmp_path / "out", examples.SCHEMA).digest == (
        artifacts.read(taxi, examples.SCHEMA).digest
    )


def test_types_are_settled_by_every_value(tmp_path: Path) -> None:
    late = "".join(f"{row},{row},x\n" for row in range(600_000))
    path = tmp_path / "data.csv"
    path.write_text(f"i,d,s\n{late}7,12.5,1\n")
    found = ingest(str(path), tmp_path / "out", split_ratios=ONE)
    assert found["columns"] == {"i": "int64", "d": "double", "s": "string"}
    assert table(tmp_path / "out").slice(600_000).to_pylist() == [{"i": 7, "d": 12.5, "s": "1"}]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "", "-3"], [1, None, -3]),
        (["1", "2.5", "1e3"], [1.0, 2.5, 1000.0]),
        ([" 1", "2 ", "3"], [1, 2, 3]),
        (["1", "one", ""], ["1", "one", None]),
        (["0x1F", "2.5", "3"], ["0x1F", "2.5", "3"]),
        (["true", "false", "true"], ["true", "false", "true"]),
        (["9223372036854775807", "1", "2"], [2**63 - 1, 1, 2]),
        (["", "", ""], [None, None, None]),
    ],
)
def test_types(cells: list[str], values: list[Any], tmp_path: Path) -> None:
    text = "".join(f"{cell},k\n" for cell in cells)
    found = columns(tmp_path, f"a,b\n{text}")["a"]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "options", "wanted"),
    [
        ('a,b\n"x, ""y""","two\nlines"\n', {}, {"a": ['x, "y"'], "b": ["two\nlines"]}),
        (b"\xef\xbb\xbfa,b\r\n1,x\r\n", {}, {"a": [1], "b": ["x"]}),
        ("a;b\n1,5;x\n", {"delimiter": ";"}, {"a": ["1,5"], "b": ["x"]}),
        ("a,b\nNA,x\n2,NA\n", {"null_values": ["", "NA"]}, {"a": [None, 2], "b": ["x", None]}),
        ("a,b\n007,1\n", {"column_types": {"a": "string", "b": "float"}}, {"a": ["007"], "b": [1]}),
        ("ä,b\nMüller,1\n".encode("latin-1"), {"encoding": "latin-1"}, {"ä": ["Müller"], "b": [1]}),
        ("a,b\nMüller,1\n".encode("utf-16"), {"encoding": "utf-16"}, {"a": ["Müller"], "b": [1]}),
        ('a,b\n\n1,5" pipe\n\n', {}, {"a": [1], "b": ['5" pipe']}),
        ("a,b\n1,x", {}, {"a": [1], "b": ["x"]}),
        (gzip.compress(b"a,b\n1,x\n", mtime=0), {}, {"a": [1], "b": ["x"]}),
    ],
    ids=[
        "quotes",
        "bom-crlf",
        "delimiter",
        "nulls",
        "declared",
        "latin-1",
        "utf-16",
        "inch",
        "no-newline",
        "gzip",
    ],
)
def test_dialects(
    text: str | bytes, options: dict[str, Any], wanted: dict[str, Any], tmp_path: Path
) -> None:
    assert columns(tmp_path, text, **options) == wanted


GOOD = "1,x\n" * 3000


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (f"a,b\n{GOOD}2\n{GOOD}", {}, "row 3002: the row has 1 cells, but the header has 2:"),
        ('a,b\n1,"x\ny\nz"\n\n1,2,3\n', {}, "row 4: the row has 3 cells"),
        ("a,b\n1\n2,x\n3\n4,5,6\n", {}, "row 2: the row has 1 cells, but the header has 2 (so do rows 4, 5)"),  # noqa: E501
        (f"a,b\n{GOOD}".encode() + b"1,M\xfcller\n", {}, "row 3002, column 'b': byte 0xfc is not utf-8: set encoding"),  # noqa: E501
        (b"a,\xfc\n1,2\n", {}, "row 1, column 2: byte 0xfc is not utf-8"),
        ("a,b\n1,x\n".encode("utf-16"), {}, "for example utf-16"),
        (b"a,b\n1,\xfc\n", {"encoding": "ascii"}, "row 2, column 'b': byte 0xfc is not ascii"),
        (f"a,b\n{GOOD}\n12.5,x\n", {"column_types": {"a": "int64"}}, "row 3003, column 'a': '12.5' is not int64"),  # noqa: E501
        ("a,b\n1,x\n", {"column_types": {"b": "float"}}, "row 2, column 'b': 'x' is not float"),
        ("a,b,a\n1,2,3\n", {}, "row 1: columns 1 and 3 are both named 'a'"),
        ("a,,c\n1,2,3\n", {}, "row 1: column 2 has no name"),
        ("", {}, "data.csv is empty"),
        ("\n\n", {}, "data.csv is empty"),
        ("a,b", {}, "data.csv has no row"),
        ("a,b\n", {}, "data.csv has no row"),
        (f'a,b\n{GOOD}1,"x\n{GOOD}', {}, "row 3002: a quote is opened and not closed"),
        ('a,b\n1,"x', {}, "row 2: a quote is opened and not closed"),
        (f'a,b\n1,"{"x" * 3_000_000}', {}, "row 2: a quote is opened and not closed"),
        (f"a,b\n1,x\n2,{'x ' * 700_000}{'y,' * 10}{'x ' * 700_000}\n", {}, "row 3"),
        (gzip.compress(GOOD.encode(), mtime=0)[:-12], {}, "damaged gzip"),
        ("a,b\n1,x\n", {"column_types": {"c": "int64"}}, "names a column 'c'"),
        ("a,b\n1,x\n", {"column_types": {"a": "int"}}, "the types are int64, float, string"),
        ("a,b\n1,x\n", {"encoding": "klingon"}, "encoding 'klingon' is not known"),
        ("a,b\n1,x\n", {"delimiter": ";;"}, "delimiter ';;'"),
        ("a,b\n1,x\n", {"split_key": "c"}, "split_key names a column 'c'"),
        ("a,b\n1,x\n", {"format": "xml"}, "format 'xml' is not known"),
    ],
)  # fmt: skip
def test_faults(text: str | bytes, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    message = fault(tmp_path, text, **options)
    assert said in message
    assert "\n" not in message


def test_files_with_other_headers(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("a,c\n1,2\n")
    with pytest.raises(EdgelineError, match=r"2\.csv has 'c' as column 2, but 1\.csv has 'b'"):
        ingest(f"{tmp_path}/*.csv", tmp_path / "out")


cells = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=8
).filter(lambda text: text == "" or not text.isspace())


@hypothesis.settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(
    rows=st.lists(st.tuples(cells, st.integers(-(2**63), 2**63 - 1) | st.none()), min_size=1)
)
def test_whatever_a_csv_writer_writes_is_read(
    rows: list[tuple[str, int | None]], tmp_path: Path
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["word", "number"])
    writer.writerows(rows)
    found = columns(tmp_path, text.getvalue(), column_types={"word": "string", "number": "int64"})
    assert found["word"] == [word or None for word, _ in rows]
    assert found["number"] == [number for _, number in rows]


def test_many_splits_have_their_shares(tmp_path: Path) -> None:
    ratios = {"train": 8, "eval": 1, "test": 1}
    path = tmp_path / "data.csv"
    path.write_text("n\n" + "".join(f"{number}\n" for number in range(50_000)))
    rows = ingest(str(path), tmp_path / "out", split_ratios=ratios)["splits"]
    for name, weight in ratios.items():
        share = weight / 10
        error = (share * (1 - share) / 50_000) ** 0.5
        assert rows[name]["rows"] / 50_000 == pytest.approx(share, abs=4 * error)


def test_a_row_keeps_its_split_in_other_company(tmp_path: Path) -> None:
    letters = np.array(list(string.ascii_lowercase))
    rows = [f"{number},{letters[number % 26]}" for number in range(500)]

    def split_of(text: str, name: str) -> dict[str, str]:
        (tmp_path / f"{name}.csv").write_text(text)
        ingest(str(tmp_path / f"{name}.csv"), tmp_path / name)
        return {
            row["b"] + str(int(row["a"])): split
            for split in ("train", "eval")
            for row in table(tmp_path / name, split).to_pylist()
            if row["b"] != "new"
        }

    here = split_of("a,b\n" + "\n".join(rows) + "\n", "one")
    # reversed, doubled, and with a row that makes `a` a double
    there = split_of("a,b\n0.5,new\n" + "\n".join([*rows[::-1], *rows]) + "\n", "two")
    assert here == there
    assert set(here.values()) == {"train", "eval"}


def test_a_key_keeps_its_rows_together(tmp_path: Path) -> None:
    ingest(TAXI, tmp_path / "out", split_key="trip_start_timestamp")
    keys = [
        set(table(tmp_path / "out", split)["trip_start_timestamp"].to_pylist())
        for split in ("train", "eval")
    ]
    assert keys[0] and keys[1] and not keys[0] & keys[1]


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ({}, "split_ratios is empty"),
        ({"a/b": 1}, "names a split 'a/b'"),
        ({"train": 0}, "gives 'train' the weight 0"),
        ({"train": "2"}, "gives 'train' the weight '2'"),
        ({"train": float("nan")}, "gives 'train' the weight nan"),
    ],
)
def test_bad_ratios(ratios: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(EdgelineError) as caught:
        ingest(TAXI, tmp_path / "out", split_ratios=ratios)
    assert said in str(caught.value)


@pytest.mark.parametrize(("delimiter", "other"), [(",", ";"), (",", "\t"), (";", ",")])
def test_another_delimiter_is_noticed(delimiter: str, other: str, tmp_path: Path) -> None:
    file = tmp_path / "wine.csv"
    file.write_text("kind,alcohol\nred,12\n".replace(",", other))
    with pytest.raises(EdgelineError) as caught:
        ingest(str(file), tmp_path / "out", delimiter=delimiter)
    assert str(caught.value).startswith("wine.csv, row 1: the header is one column, 'kind")
    assert f"set delimiter to {other!r}" in str(caught.value)
    assert ingest(str(file), tmp_path / "out", delimiter=other)["columns"]["alcohol"] == "int64"
