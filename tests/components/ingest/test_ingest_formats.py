"""Parquet, image folders, several files, and what an ingest leaves and takes."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingesting import ONE, fault, rows, table

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.ingest import parts as parts_module
from edgeline.components.ingest.ingest import ingest
from edgeline.components.ingest.parts import SplitWriter
from edgeline.components.ingest.row_hash import row_bytes

# Parquet


def test_parquet_comes_in_the_types_of_examples(tmp_path: Path) -> None:
    wide = pa.table(
        {
            "small": pa.array([1, None], pa.int8()),
            "flag": pa.array([True, False]),
            "half": pa.array([0.5, None], pa.float32()),
            "word": pa.array(["a", "b"]).dictionary_encode(),
            "long": pa.array(["a", "b"], pa.large_string()),
            "raw": pa.array([b"\xff", None]),
            "pair": pa.array([[1.0, 2.0], None], pa.list_(pa.float64())),
            "none": pa.nulls(2),
        }
    )
    pq.write_table(wide, tmp_path / "d.parquet")
    metadata = ingest(str(tmp_path / "d.parquet"), tmp_path / "out", split_ratios=ONE)
    assert list(metadata["columns"].values()) == [
        *("int64", "int64", "float", "string", "string", "binary"),
        *("fixed_size_list<item: double>[2]", "double"),
    ]
    assert table(tmp_path / "out").to_pylist() == [
        {**row, "flag": int(row["flag"]), "pair": row["pair"] or [None, None]}
        for row in wide.to_pylist()
    ]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"a": [1]}, {"a": ["x"]}, "2.parquet, column 'a': is string, but int64 in 1.parquet"),
        ({"a": [1, 2**60 + 1]}, {"a": [0.5]}, "column 'a': a value from row 1 on is not double"),
        ({"a": [[1, 2]]}, {"a": [[3]]}, "2.parquet, row 1, column 'a': has 1 values, but 2 before"),
        ({"a": [[{"b": 1}]]}, {}, "column 'a': has the type struct<b: int64>"),
    ],
)
def test_parquet_faults(
    first: dict[str, Any], second: dict[str, Any], said: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(first), tmp_path / "1.parquet")
    if second:
        pq.write_table(pa.table(second), tmp_path / "2.parquet")
    assert said in fault(f"{tmp_path}/*.parquet", tmp_path / "out")


@pytest.mark.parametrize(
    ("columns", "read", "said"),
    [
        ((pa.nulls(2), ["s"]), [None, None, "s"], None),
        ((["s"], pa.nulls(1)), ["s", None], None),
        ((pa.nulls(1), pa.nulls(1)), [None, None], None),
        (([1], [1.5]), [1.0, 1.5], "Column 'a' is int64 in 1.parquet and was read as double."),
        (([1.5], [1]), [1.5, 1.0], "Column 'a' is int64 in 2.parquet and was read as double."),
        ((["s"], None), ["s", None], "Column 'a' is missing in all rows of 2.parquet."),
        ((None, [7]), [None, 7], "Column 'a' is missing in all rows of 1.parquet."),
        ((None, [[1, 2]]), [[None, None], [1, 2]], "Column 'a' is missing in all rows of 1.pa"),
        (([[None]], [["s"]]), [[None], ["s"]], None),
    ],
)
def test_parts_of_one_table_that_differ_as_pandas_writes_them(
    columns: Any, read: list[Any], said: str | None, tmp_path: Path
) -> None:
    for number, values in enumerate(columns, 1):
        count = 1 if values is None else len(values)
        found = {"row": [number] * count, **({} if values is None else {"a": values})}
        pq.write_table(pa.table(found), tmp_path / f"{number}.parquet")
    page = tmp_path / "page.html"
    metadata = ingest(
        f"{tmp_path}/*.parquet", tmp_path / "out", split_ratios=ONE, examples_report_path=page
    )
    assert table(tmp_path / "out").column("a").to_pylist() == read
    notes = metadata.get("notes", [])
    assert bool(notes) == bool(said)
    for note in notes:
        assert note.startswith(said)
        assert "was read as" in note or "is missing" in note
        assert note.split("'")[0] in page.read_text()


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (2**60, pa.timestamp("ms"), "a value from row 1 on is not int64"),
        (2**63, pa.uint64(), "a value from row 1 on is not int64"),
    ],
)
def test_parquet_types(value: int, dtype: pa.DataType, said: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([value], dtype)}), tmp_path / "1.parquet")
    assert f"column 'a': {said}" in fault(f"{tmp_path}/*.parquet", tmp_path / "out")


def test_a_table_with_structs_and_decimals(tmp_path: Path) -> None:
    pickup = [{"at": {"lon": 8.5, "lat": 47.25}, "zone": "A"}, None, {"at": None, "zone": "B"}]
    found = {
        "pickup": pa.array(pickup),
        "pickup.fare": pa.array(["1.50", None, "-2.25"]).cast(pa.decimal128(9, 2)),
        "count": pa.array([Decimal(1), Decimal(2), None], pa.decimal128(18, 0)),
        "paid": pa.array(["0.1", "2", "3"]).cast(pa.decimal128(38, 18)),
        "key": pa.array([b"abcd", None, b"efgh"], pa.binary(4)),
        "kind": pa.array(["x", None, "x"]).dictionary_encode(),
    }
    pq.write_table(pa.table(found), tmp_path / "d.parquet")
    facts = ingest(str(tmp_path / "d.parquet"), tmp_path / "out", split_ratios=ONE)
    assert table(tmp_path / "out").to_pydict() == {
        "pickup.at.lon": [8.5, None, None],
        "pickup.at.lat": [47.25, None, None],
        "pickup.zone": ["A", None, "B"],
        "pickup.fare": [1.5, None, -2.25],
        "count": [1, 2, None],
        "paid": [0.1, 2.0, 3.0],
        "key": [b"abcd", None, b"efgh"],
        "kind": ["x", None, "x"],
    }
    assert facts["notes"] == [
        "Column 'paid' is decimal128(38, 18) and was read as double, which holds 15 digits."
    ]


def test_a_struct_is_left_out_as_a_whole_or_in_part(tmp_path: Path) -> None:
    where = pa.array([{"lon": 8.5, "tags": [[1]]}])
    pq.write_table(pa.table({"where": where, "n": [1]}), tmp_path / "d.parquet")
    for columns, names in (({"where": False}, ["n"]), ({"where.tags": False}, ["where.lon", "n"])):
        facts = ingest(str(tmp_path / "d.parquet"), tmp_path / "out", columns=columns)
        assert list(facts["columns"]) == names


def test_a_field_of_a_struct_and_a_column_of_its_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([{"b": 1}]), "a.b": [2]}), tmp_path / "d.parquet")
    said = fault(tmp_path / "d.parquet", tmp_path / "out")
    assert "d.parquet has two columns named 'a.b': rename one." in said


def test_a_list_of_fixed_size_that_is_missing(tmp_path: Path) -> None:
    lists = pa.array([[1, 2], None], pa.list_(pa.int32(), 2))
    pq.write_table(pa.table({"a": lists, "b": [1, 2]}), tmp_path / "d.parquet")
    assert fault(tmp_path / "d.parquet", tmp_path / "out") == (
        "d.parquet lacks a list of fixed size in a row, which Parquet keeps and Arrow does not "
        "read: write 'a' as lists of any size, or leave it out with columns."
    )
    ingest(str(tmp_path / "d.parquet"), tmp_path / "out", split_ratios=ONE, columns={"a": False})
    assert table(tmp_path / "out").to_pydict() == {"b": [1, 2]}


@pytest.mark.parametrize("in_lists", [False, True])
def test_text_that_is_not_utf_8(in_lists: bool, tmp_path: Path) -> None:
    cells = pa.array(["ok", b"\xfcber", "ok"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, cells.buffers())
    column = pa.ListArray.from_arrays([0, 1, 2, 3], text) if in_lists else text
    pq.write_table(pa.table({"a": column}), tmp_path / "d.parquet")
    assert fault(tmp_path / "d.parquet", tmp_path / "out").startswith(
        "d.parquet, row 2, column 'a': has text that is not UTF-8: "
    )


def test_a_cut_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "d.parquet")
    whole = (tmp_path / "d.parquet").read_bytes()
    (tmp_path / "d.parquet").write_bytes(whole[:-9])
    assert "d.parquet is not a whole Parquet file" in fault(
        tmp_path / "d.parquet", tmp_path / "out"
    )


def test_whole_numbers_and_words_split_alike_in_csv_and_parquet(tmp_path: Path) -> None:
    data = pa.table({"n": list(range(300)), "w": [f"w{number}" for number in range(300)]})
    pq.write_table(data, tmp_path / "d.parquet")
    (tmp_path / "d.csv").write_text("n,w\n" + "".join(f"{n},w{n}\n" for n in range(300)))
    ingest(str(tmp_path / "d.parquet"), tmp_path / "p")
    ingest(str(tmp_path / "d.csv"), tmp_path / "c")
    assert table(tmp_path / "p", "eval") == table(tmp_path / "c", "eval")


def test_the_bytes_of_a_row_are_as_documented() -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "i": [5, None],
            "d": pa.array([0.5, None], pa.float32()),
            "s": ["ä", ""],
            "l": pa.array([[1, 2], None], pa.list_(pa.int64(), 2)),
        }
    )
    first = b"5\x1f" + struct.pack("<d", 0.5) + b"\x1f" + "ä".encode() + b"\x1f1\x1f2"
    assert row_bytes(batch).to_pylist() == [first, b"\x1f" * 4]
    assert row_bytes(batch.slice(1)).to_pylist() == [b"\x1f" * 4]


# Images


def png(shade: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes([0, shade])))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for place, name in enumerate(["dog/b.png", "cat/a.png", "dog/a.PNG"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(place))
    (folder / "dog/.DS_Store").write_bytes(b"?")
    return folder


@pytest.mark.parametrize("pattern", ["", "/*/*"])
def test_images(pattern: str, pictures: Path, tmp_path: Path) -> None:
    found = rows(f"{pictures}{pattern}", tmp_path / "out")
    assert found == [
        {"image": png(1), "label": "cat", "path": "cat/a.png"},
        {"image": png(2), "label": "dog", "path": "dog/a.PNG"},
        {"image": png(0), "label": "dog", "path": "dog/b.png"},
    ]
    assert len(list((tmp_path / "out/all").iterdir())) == 1


def test_an_image_folder_is_one_source(pictures: Path, tmp_path: Path) -> None:
    (source,) = ingest(str(pictures), tmp_path / "out")["sources"]
    names = ["cat/a.png", "dog/a.PNG", "dog/b.png"]
    listing = "".join(
        f"{hashlib.sha256((pictures / name).read_bytes()).hexdigest()}  {name}\n" for name in names
    )
    assert source["name"] == "pictures"
    assert source["sha256"] == hashlib.sha256(listing.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("dog/c.png", b"", "dog/c.png is empty"),
        ("dog/c.jpg", b"GIF89a", "dog/c.jpg is neither a PNG nor a JPEG"),
        ("c.png", png(1), "c.png does not lie in a class folder"),
        ("dog/small/c.png", png(1), "dog/small/c.png does not lie in a class folder"),
        ("dog/c.bmp", b"BM", "dog/c.bmp has an ending that tells no format"),
        ("dog/c.csv", b"a\n1\n", "is csv"),
    ],
)
def test_image_faults(name: str, content: bytes, said: str, pictures: Path, tmp_path: Path) -> None:
    (pictures / name).parent.mkdir(exist_ok=True)
    (pictures / name).write_bytes(content)
    assert said in fault(pictures, tmp_path / "out")


# Several files, interruptions, memory


def digests(output: Path) -> dict[str, Any]:
    return {name: entry["sha256"] for name, entry in artifacts.list_files(output).items()}


def test_data_that_grows_keeps_its_earlier_parts(tmp_path: Path) -> None:
    for day in (1, 2):
        lines = "".join(f"{day},{number}\n" for number in range(200))
        (tmp_path / f"day-{day}.csv").write_text(f"day,n\n{lines}")
    ingest(f"{tmp_path}/day-*.csv", tmp_path / "out")
    before = digests(tmp_path / "out")
    (tmp_path / "day-3.csv").write_text("day,n\n3,1\n3,2\n3,3\n3,4\n3,5\n3,6\n")
    metadata = ingest(f"{tmp_path}/day-*.csv", tmp_path / "out")
    after = digests(tmp_path / "out")
    assert before.items() < after.items()
    assert [source["name"] for source in metadata["sources"]] == [
        *("day-1.csv", "day-2.csv", "day-3.csv")
    ]
    assert str(tmp_path) not in (tmp_path / "out" / artifacts.LISTING).read_text()


def test_a_large_source_rolls_into_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "PART_ROWS", 100)
    monkeypatch.setattr(parts_module, "GROUP_ROWS", 40)
    (tmp_path / "d.csv").write_text("n\n" + "".join(f"{number}\n" for number in range(250)))
    assert [row["n"] for row in rows(tmp_path / "d.csv", tmp_path / "out")] == list(range(250))
    parts = sorted((tmp_path / "out/all").iterdir())
    assert [pq.read_metadata(part).num_rows for part in parts] == [100, 100, 50]


def test_long_rows_roll_into_parts_and_row_groups_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_module, "GROUP_BYTES", 8000)
    monkeypatch.setattr(parts_module, "PART_BYTES", 16000)
    (tmp_path / "d.csv").write_text("n,text\n" + "".join(f"{n},{'x' * 1992}\n" for n in range(11)))
    assert [row["n"] for row in rows(tmp_path / "d.csv", tmp_path / "out")] == list(range(11))
    parts = [pq.read_metadata(part) for part in sorted((tmp_path / "out/all").iterdir())]
    groups = [
        [part.row_group(group).num_rows for group in range(part.num_row_groups)] for part in parts
    ]
    assert groups == [[4, 4], [3]]


def test_an_interrupted_ingest_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d.csv").write_text("n\n1\n2\n3\n")
    ingest(str(tmp_path / "d.csv"), tmp_path / "out")
    before = digests(tmp_path / "out")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SplitWriter, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ingest(str(tmp_path / "d.csv"), tmp_path / "out")
    assert digests(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "out"]


def test_a_pinned_source_that_changed(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("n\n1\n")
    assert "is pinned" in fault(f"{tmp_path}/d.csv#sha256={'0' * 64}", tmp_path / "out")


MEASURE = """
import sys
from edgeline.components.ingest.ingest import ingest
ingest(sys.argv[1], sys.argv[2])
heavy = {"tensorflow", "pandas", "fsspec", "kfp", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
# not ru_maxrss: that of a child begins at its parent's
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["VmHWM"].split()[0])
"""


def peak_mib(data: Path, output: Path) -> float:
    run = [sys.executable, "-c", MEASURE, str(data), str(output)]
    *_, peak = subprocess.run(run, check=True, capture_output=True).stdout.splitlines()
    return int(peak) / 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    line = ",".join(["{0}", "{0}.25", "word {0}", "x" * 60]) + "\n"
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    for path, count in ((small, 320_000), (large, 640_000)):
        with open(path, "w") as file:
            file.write("i,d,s,t\n")
            file.writelines(line.format(number) for number in range(count))
    assert os.path.getsize(large) > 55_000_000  # noqa: PTH202
    first, second = peak_mib(small, tmp_path / "a"), peak_mib(large, tmp_path / "b")
    assert second < 400
    assert second < first + 60


# The component itself


def test_the_face_runs_the_worker(tmp_path: Path) -> None:
    from kfp import local

    from edgeline.components.ingest.component import ingest as face

    (tmp_path / "d.csv").write_text("n,k\n" + "".join(f"{n},{n % 9}\n" for n in range(90)))
    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner, pipeline_root=str(tmp_path / "root"), raise_on_error=True)
    task = face(data=str(tmp_path / "d.csv"), split_ratios={"train": 2, "test": 1}, split_key="k")
    made = task.outputs["examples"]
    assert made.metadata["edgeline_schema"] == "examples/v1"
    counts = examples.splits(artifacts.read(made.path, examples.SCHEMA))
    assert sorted(counts) == ["test", "train"] and sum(counts.values()) == 90
    assert "<html" in Path(task.outputs["examples_report"].path).read_text()
