"""Arrow files and streams, as pyarrow, pandas and polars write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingesting import ONE, fault, table
from pyarrow import feather, ipc

from edgeline.components.ingest import rows as rows_module
from edgeline.components.ingest.ingest import ingest

GIVEN = pa.table(
    {
        "n": pa.array([1, 2, None], pa.uint16()),
        "word": pa.array(["a", None, "b"]).cast(pa.string_view()),
        "raw": pa.array([b"\xff", None, b""], pa.binary_view()),
        "kind": pa.array(["p", "q", "p"]).dictionary_encode(),
        "at": pa.array([0, 1_500, None], pa.timestamp("ns", "Europe/Berlin")),
        "place": pa.array([{"lon": 8.5}, None, {"lon": None}]),
        "pair": pa.array([[1, 2], [3, 4], None], pa.large_list(pa.int32())),
        "times": pa.array([[1], [], None], pa.list_(pa.timestamp("ms"))),
    }
)
WANTED = {
    "n": [1, 2, None],
    "word": ["a", None, "b"],
    "raw": [b"\xff", None, b""],
    "kind": ["p", "q", "p"],
    "at": [0, 1, None],
    "place.lon": [8.5, None, None],
    "pair": [[1, 2], [3, 4], [None, None]],
    "times": [[1000], [], None],
}


def write(path: Path, given: pa.Table, how: str) -> Path:
    if how == "stream":
        with ipc.new_stream(str(path), given.schema) as writer:
            writer.write_table(given, max_chunksize=2)
    else:
        feather.write_feather(given, str(path), compression=how, chunksize=2)
    return path


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.feather", "lz4"),
        ("a.arrow", "uncompressed"),
        ("a.ipc", "zstd"),
        ("a.arrows", "stream"),
        ("a.arrow", "stream"),
    ],
)
def test_every_form_of_it(name: str, how: str, tmp_path: Path) -> None:
    ingest(
        str(write(tmp_path / name, GIVEN, how)),
        tmp_path / "out",
        split_ratios=ONE,
        lengths={"times": 2.0},  # as a pipeline's parameters have it
    )
    assert table(tmp_path / "out").to_pydict() == WANTED


def test_rows_split_as_those_of_parquet(tmp_path: Path) -> None:
    given = pa.table({"n": range(1000), "x": [n / 8 for n in range(1000)]})
    pq.write_table(given, tmp_path / "a.parquet")
    write(tmp_path / "a.arrow", given, "lz4")
    for name in ("parquet", "arrow"):
        ingest(str(tmp_path / f"a.{name}"), tmp_path / name)
    assert table(tmp_path / "arrow", "eval") == table(tmp_path / "parquet", "eval")


def test_one_large_batch_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BATCH_BYTES", 800)
    (piece, *more) = rows_module.pieces(pa.RecordBatch.from_pydict({"n": list(range(1000))}))
    assert len(piece) == 100
    assert sum(map(len, more)) == 900


def test_parts_that_differ_are_one_table(tmp_path: Path) -> None:
    write(tmp_path / "1.arrow", pa.table({"a": [1], "b": pa.nulls(1)}), "lz4")
    write(tmp_path / "2.arrow", pa.table({"a": [0.5]}), "lz4")
    facts = ingest(f"{tmp_path}/*.arrow", tmp_path / "out", split_ratios=ONE)
    assert table(tmp_path / "out").to_pydict() == {"a": [1.0, 0.5], "b": [None, None]}
    assert "Column 'a' is int64 in 1.arrow and was read as double." in facts["notes"]


def test_extension_types_are_read_as_they_are_stored_which_is_said(tmp_path: Path) -> None:
    stored = pa.ExtensionArray.from_storage
    identity = stored(pa.uuid(), pa.array([bytes(range(16))] * 2, pa.binary(16)))
    period = {"ARROW:extension:name": "pandas.period"}  # which Arrow does not know
    given = pa.table(
        {
            "id": identity,
            "in": pa.StructArray.from_arrays([identity], ["id"]),
            "word": stored(pa.json_(), pa.array(['{"a": 1}', None])),
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12.0).reshape(2, 2, 3)),
        }
    ).append_column(pa.field("p", pa.int64(), metadata=period), pa.array([1, 2]))
    write(tmp_path / "a.arrow", given, "lz4")
    pq.write_table(given, tmp_path / "a.parquet")
    for name in ("a.arrow", "a.parquet"):
        facts = ingest(str(tmp_path / name), tmp_path / f"{name}-out", split_ratios=ONE)
        assert table(tmp_path / f"{name}-out").to_pydict() == {
            "id": [bytes(range(16))] * 2,
            "in.id": [bytes(range(16))] * 2,
            "word": ['{"a": 1}', None],
            "image": [[0.0, 1, 2, 3, 4, 5], [6.0, 7, 8, 9, 10, 11]],
            "p": [1, 2],
        }
        told = [note.partition(" and was read as it is stored, ")[::2] for note in facts["notes"]]
        assert told == [
            ("Column 'id' is of type arrow.uuid", "fixed_size_binary[16]."),
            ("Column 'in.id' is of type arrow.uuid", "fixed_size_binary[16]."),
            ("Column 'word' is of type arrow.json", "string."),
            (
                "Column 'image' is of type arrow.fixed_shape_tensor [2, 3]",
                "fixed_size_list<item: double>[6].",
            ),
            ("Column 'p' is of type pandas.period", "int64."),
        ]
    opaque = stored(pa.opaque(pa.binary(), "x", "acme"), pa.array([b"1"]))
    write(tmp_path / "b.arrow", pa.table({"o": opaque}), "lz4")
    assert "b.arrow, column 'o': has the type extension<arrow.opaque" in fault(
        tmp_path / "b.arrow", tmp_path / "out"
    )


@pytest.mark.parametrize("cut", [0, 4, 200, -40])
@pytest.mark.parametrize("how", ["stream", "lz4"])
def test_what_is_cut_is_told(cut: int, how: str, tmp_path: Path) -> None:
    whole = write(tmp_path / "a.arrow", GIVEN, how).read_bytes()
    (tmp_path / "b.arrow").write_bytes(whole[:cut])
    assert "b.arrow is not a whole Arrow file or stream (" in fault(
        tmp_path / "b.arrow", tmp_path / "out"
    )


@pytest.mark.parametrize(
    ("values", "lengths", "said"),
    [
        ([[1], [1, 2]], {}, 'row 2, column \'l\': has 2 values, but 1 before: declare the most values that one has, such as lengths={"l": 2}'),  # noqa: E501
        ([[1], [1, 2]], {"l": 1}, "row 2, column 'l': has 2 values, but lengths says at most 1"),
        ([1, 2], {"l": 1}, "lengths names the column 'l', which holds int64 and no lists"),
        ([[1]], {"m": 1}, "lengths names a column 'm', but the data has l"),
        ([[1]], {"l": 0}, "lengths gives 'l' 0: give a whole number above 0"),
        ([[1]], {"l": 1.5}, "lengths gives 'l' 1.5: give a whole number above 0"),
        ([[1]], {"l": "9"}, "lengths gives 'l' '9': give a whole number above 0"),
        ([[("k", 1)]], {}, 'leave it out with columns={"l": false}'),
    ],
)  # fmt: skip
def test_lists_that_are_refused(
    values: Any, lengths: dict[str, Any], said: str, tmp_path: Path
) -> None:
    kind = pa.map_(pa.string(), pa.int64()) if "columns" in said else None
    write(tmp_path / "a.arrow", pa.table({"l": pa.array(values, kind)}), "lz4")
    assert said in fault(tmp_path / "a.arrow", tmp_path / "out", lengths=lengths)
