"""CSV as people have it: read as asked, or told with the count, the cell and its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ingesting import ONE, fault, table

from edgeline.components.ingest.ingest import ingest

WIDE = [str(2**64 + row) for row in range(40)]


def read(folder: Path, text: str, name: str = "rows.csv", **options: Any) -> tuple[dict, list[str]]:
    """Columns, and the notes of the report."""
    (folder / name).write_text(text)
    page = folder / "page.html"
    facts = ingest(
        str(folder / name), folder / "out", split_ratios=ONE, examples_report_path=page, **options
    )
    notes = facts.get("notes", [])
    assert all(note.split("'")[1] in page.read_text() for note in notes)
    return table(folder / "out").to_pydict(), notes


def column(*cells: str) -> str:
    return "\n".join(["c", *(f'"{cell}"' for cell in cells)]) + "\n"


def test_identifiers_beyond_64_bits_stay_apart(tmp_path):
    found, [note] = read(tmp_path, column("7", *WIDE))
    assert found["c"] == ["7", *WIDE]
    assert note.startswith(
        f"Column 'c' has whole numbers beyond 64 bits, '{2**64}' in row 3 of rows.csv, and was "
        "read as text"
    )
    asked, notes = read(tmp_path, column("7", *WIDE), column_types={"c": "float"})
    assert (asked["c"][0], notes) == (7.0, [])


@pytest.mark.parametrize(
    ("cells", "values", "said"),
    [
        (["42", "00042", "007"], [42, 42, 7], "2 of 3 cells begin with a zero, '00042' in row 3"),
        (["0", "0.5", "-0"], [0.0, 0.5, 0.0], ""),
        (["+4930123456", "0049"], [4930123456.0, 49.0], "2 of 2 cells begin with a plus, '+49301"),
        (["1", "2", "NA"], ["1", "2", "NA"], "2 of 3 cells are numbers, 'NA' in row 4 of rows.csv"),
        (
            ["NA", "n/a", "5"],
            ["NA", "n/a", "5"],
            "1 of 3 cells are numbers, 'NA' in row 2 of rows.csv",
        ),
        (["1", "null", "2"], ["1", "null", "2"], "'null' in row 3 of rows.csv is not"),
        (["-", "1.5", "2"], ["-", "1.5", "2"], "'-' in row 2 of rows.csv is not"),
        (["a", "b", "3"], ["a", "b", "3"], ""),
        (["1,5", "2", "0,25"], ["1,5", "2", "0,25"], "a comma, '1,5' in row 2 of rows.csv, and"),
        (["2", "1,234", "12,345,678.9"], None, "set thousands to ','."),
        (["NA", "1,5", "7"], ["NA", "1,5", "7"], "2 of 3 cells are numbers with a comma, '1,5' in"),
        (["1,234"], None, "set thousands to ',' where it stands between thousands, decimal to ','"),
        (["12%", "3.5 %"], None, "percentages, '12%' in row 2 of rows.csv, and were read as text"),
        (
            ["1\u00a0234", "12", "3\u202f000,5"],
            None,
            "a sign between thousands, '1\\xa0234' in row 2",
        ),
        (["$1.50", "2 €"], ["$1.50", "2 €"], "2 of 2 cells are amounts of a currency, '$1.50' in"),
        (["'1'", "'a'"], ["'1'", "'a'"], "2 of 2 cells are in single quotes, \"'1'\" in row 2"),
        (["don't", "'tis"], ["don't", "'tis"], ""),
        (["true", "False"], ["true", "False"], "declare bool in column_types for 1 and 0"),
        (["yes", "no"], ["yes", "no"], ""),
        (["F", "M", "F"], ["F", "M", "F"], ""),
        (["+5", "3"], [5.0, 3.0], ""),
        (["1", "NaN", "2.5"], None, ""),
        (["0x10", "0x1F"], ["0x10", "0x1F"], ""),
        ([" 0X10", "5"], [" 0X10", "5"], "' 0X10' in row 2 of rows.csv is not"),
        (["9007199254740992", "1.5", "-inf"], [2.0**53, 1.5, float("-inf")], ""),
        (
            [str(2**53), str(2**53 + 1), "1.5", *WIDE[1:3]],
            None,
            f"which rounds 3 of its numbers, '{2**53 + 1}' in row 3 of rows.csv first: declare",
        ),
        (["+9007199254740993", "5"], None, "which rounds 1 of its numbers, '+9007199254740993'"),
        (["1e400", "inf"], [float("inf")] * 2, "which rounds 1 of its numbers, '1e400' in row 2"),
    ],
)
def test_what_may_be_meant_in_another_way_is_told(cells, values, said, tmp_path):
    found, notes = read(tmp_path, column(*cells))
    assert values is None or found["c"] == values
    assert len(notes) == bool(said)
    assert all(said in note for note in notes)


@pytest.mark.parametrize(
    ("cells", "options", "values"),
    [
        (["1", "NA", "-", "2"], {"null_values": ["NA", "-"]}, [1, None, None, 2]),
        (["1,5", "2", "-0,25"], {"decimal": ","}, [1.5, 2.0, -0.25]),
        (["1.234,5", "2"], {"decimal": ",", "thousands": "."}, [1234.5, 2.0]),
        (["1,234", "12,345,678", "5"], {"thousands": ","}, [1234, 12345678, 5]),
        (["1 234", "-1 000"], {"thousands": " "}, [1234, -1000]),
        (["12%", "3.5 %", ""], {"column_types": {"c": "percent"}}, [0.12, 0.035, None]),
        (["true", "No", "1", ""], {"column_types": {"c": "bool"}}, [1, 0, 1, None]),
        (["00042"], {"column_types": {"c": "string"}}, ["00042"]),
    ],
)
def test_it_is_taken_as_asked(cells, options, values, tmp_path):
    found, notes = read(tmp_path, column(*cells), **options)
    assert (found["c"], notes) == (pytest.approx(values), [])


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        (["1.5", "2,5"], {"decimal": ","}),  # which of the two is a sign of thousands?
        (["1,23"], {"thousands": ","}),
        (["12,34,567"], {"thousands": ","}),
    ],
)
def test_a_sign_that_stands_where_none_can_makes_no_number(cells, options, tmp_path):
    found, _ = read(tmp_path, column(*cells), **options)
    assert found["c"] == cells


@pytest.mark.parametrize(
    ("cell", "name"), [("12", "percent"), ("maybe", "bool"), ("1.5", "int64"), ("x", "float")]
)
def test_a_cell_of_another_type_than_declared_is_named(cell, name, tmp_path):
    (tmp_path / "rows.csv").write_text(column(cell))
    said = fault(tmp_path / "rows.csv", tmp_path / "out", column_types={"c": name})
    assert f"row 2, column 'c': '{cell}' is not {name}" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decimal": ";"}, "decimal is ';': give . or ,."),
        ({"thousands": "x"}, "thousands is 'x': give one of ','"),
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
    ],
)
def test_signs_that_are_none_are_refused(options, said, tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    assert said in fault(tmp_path / "rows.csv", tmp_path / "out", **options)


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet", "rows.avro"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS, not"),
        ("\n<!DOCTYPE html><html>", "a page of HTML, such as a login: fetch the file itself"),
        ("<?xml version='1.0'?><Error>", "XML, such as a store's error"),
    ],
)
def test_what_stands_in_place_of_a_file_is_told(content, said, name, tmp_path):
    (tmp_path / name).write_text(content)
    assert fault(tmp_path / name, tmp_path / "out").startswith(f"{name} is {said}")


def test_rows_without_columns_are_refused(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n{}\n")
    assert fault(tmp_path / "rows.jsonl", tmp_path / "out").startswith("rows.jsonl has no column")


def test_excel_says_the_delimiter_in_the_first_row(tmp_path):
    text = "sep=;\na;b\n1;x\n2;y\n"
    found, notes = read(tmp_path, text, delimiter=";")
    assert (found, notes) == ({"a": [1, 2], "b": ["x", "y"]}, [])
    said = fault(tmp_path / "rows.csv", tmp_path / "no")
    assert said == "rows.csv, row 1: 'sep=;' says that the delimiter is ';': set delimiter to it."
    (tmp_path / "rows.csv").write_text(text + "3\n")
    assert "rows.csv, row 5: the row has 1 cells" in fault(
        tmp_path / "rows.csv", tmp_path / "no", delimiter=";"
    )


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
@pytest.mark.parametrize(
    ("begins", "said"),
    [
        (b"PK\x03\x04", "is not text but a zip archive or an Excel workbook: unpack it, or save"),
        (b"\xd0\xcf\x11\xe0", "is not text but an Excel workbook: save the sheet as CSV"),
        (b"PAR1\x15", "is not text but a Parquet file: let its name end in .parquet"),
        (b"\x28\xb5\x2f\xfd", "is not text but packed with zstd: unpack it, or pack it with gzip"),
    ],
)
def test_what_is_no_text_is_told_by_what_it_is(begins, said, name, tmp_path):
    (tmp_path / name).write_bytes(begins + b"\0\xff" * 40)
    assert fault(tmp_path / name, tmp_path / "out").startswith(f"{name} {said}")


@pytest.mark.parametrize(
    ("name", "delimiter"), [("rows.tsv", ","), ("rows.txt", r"\t"), ("rows.csv", "\t")]
)
def test_tabs(name, delimiter, tmp_path):
    found, _ = read(tmp_path, "a b\tc,d\n1\t2\n", name, delimiter=delimiter)
    assert found == {"a b": [1], "c,d": [2]}


def test_blanks_around_names_are_left_out(tmp_path):
    found, notes = read(tmp_path, "a, b ,c\n1, 2,3\n")
    assert found == {"a": [1], "b": [2], "c": [3]}
    assert notes == ["The header's ' b ' is column 'b', without the blanks around it."]
    (tmp_path / "rows.csv").write_text("a, a\n1,2\n")
    said = fault(tmp_path / "rows.csv", tmp_path / "again")
    assert "columns 1 and 2 are both named 'a'" in said


@pytest.mark.parametrize("header", ["5.1,3.5,1.4,0.2,setosa", "150,4,setosa", "-1,x", "1,1", "7"])
def test_a_first_row_of_data_is_asked_about(header, tmp_path):
    (tmp_path / "rows.csv").write_text(f"{header}\n{header}\n")
    said = fault(tmp_path / "rows.csv", tmp_path / "out")
    assert f"row 1: the header has '{header.split(',')[0]}', a number as rows of data have" in said


def test_numbers_can_be_names(tmp_path):
    found, _ = read(tmp_path, "name,2019,2020\nx,1,2\n")
    assert list(found) == ["name", "2019", "2020"]
    renamed, _ = read(tmp_path, "0.5,x\n1,2\n", rename={"0.5": "half"})
    assert renamed == {"half": [1], "x": [2]}


def test_whole_numbers_are_rounded_by_a_fraction_in_another_file(tmp_path):
    (tmp_path / "a.csv").write_text(f"c,d\n1,0.5\n{2**53 + 1},1\n")
    (tmp_path / "b.csv").write_text(f"c,d\n0.5,{2**60}\n")
    facts = ingest(str(tmp_path), tmp_path / "out", split_ratios=ONE)
    assert facts["notes"] == [
        f"Column 'c' was read as double, which rounds 1 of its numbers, '{2**53 + 1}' in row 3 of "
        "a.csv first: declare string in column_types to keep them."
    ]


def test_hexadecimal_is_no_declared_number(tmp_path):
    (tmp_path / "rows.csv").write_text("c\n0x10\n")
    said = fault(tmp_path / "rows.csv", tmp_path / "out", column_types={"c": "int64"})
    assert "rows.csv, row 2, column 'c': '0x10' is not int64" in said


def test_null_values_are_text(tmp_path):
    (tmp_path / "rows.csv").write_text("c\n-999\n")
    said = fault(tmp_path / "rows.csv", tmp_path / "out", null_values=[-999])
    assert said == 'null_values has -999: give cells as text, for example "-999".'
