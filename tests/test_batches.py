"""Bounds of what is held at once: by rows and by bytes."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline.artifacts import batches

WIDTH = 224 * 224 * 3


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """120 rows of 224 x 224 x 3 floats, 602 kB each, which a dictionary makes small on the disk."""
    pixels = (np.arange(120 * WIDTH) % 256).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(pixels), WIDTH)
    table = pa.table({"image": column, "label": pa.array(range(120))})
    path = tmp_path_factory.mktemp("wide") / "part-00000.parquet"
    pq.write_table(table, path, row_group_size=50)
    return path


def test_images_come_a_few_at_a_time_and_small_rows_many(images):
    with pq.ParquetFile(images) as file:
        found = list(batches.stream(file))
        assert {len(batch) for batch in found[:-1]} == {batches.BATCH_BYTES // (4 * WIDTH + 8)}
        assert max(batch.nbytes for batch in found) < 1.05 * batches.BATCH_BYTES
        labels = [label for batch in found for label in batch["label"].to_pylist()]
        assert labels == list(range(120))
        assert [len(batch) for batch in batches.stream(file, ["label"])] == [120]
        assert [len(batch) for batch in batches.stream(file, ["label"], 50)] == [50, 50, 20]
        assert len(next(batches.stream(file, most_bytes=1))) == 1


def test_bytes_of_text_and_of_lists_count(tmp_path):
    table = pa.table(
        {
            "text": [f"{n:0100000d}" for n in range(40)],
            "list": [list(range(n, n + 1000)) for n in range(40)],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    with pq.ParquetFile(tmp_path / "rows.parquet") as file:
        assert 8 <= len(next(batches.stream(file, ["text"], most_bytes=1_000_000))) <= 10
        assert len(next(batches.stream(file, ["list"], most_bytes=80_000))) == 10


@pytest.mark.parametrize(
    ("column", "sizes"),
    [
        (pa.array([1, None, 3]), [8, 8, 8]),
        (pa.array(["a", None, "xyz"]), [1, 0, 3]),
        (pa.array([b"a", b"", b"xyz"], pa.large_binary()), [1, 0, 3]),
        (pa.array([[1, 2], None, []], pa.list_(pa.float32())), [8, 0, 0]),
        (pa.array([["a", "bc"], None, ["xyz"]]), [3, 0, 3]),
        (pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int64(), 2)), [16, 16, 16]),
        (pa.array([["a", "b"], ["", ""], ["xyz", "q"]], pa.list_(pa.string(), 2)), [2, 0, 4]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), [4, 4, 4]),
        (pa.array([None, None, None], pa.null()), [0, 0, 0]),
    ],
)
def test_bytes_of_each_row(column, sizes):
    rows = pa.RecordBatch.from_arrays([column, pa.array([0.0] * 3)], ["x", "y"])
    assert batches.row_bytes(rows).tolist() == [size + 8 for size in sizes]
    assert batches.row_bytes(rows.slice(1)).tolist() == [size + 8 for size in sizes[1:]]


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_where_a_group_ends_does_not_depend_on_the_batches(step):
    lengths = np.random.default_rng(3).integers(0, 100, 300)
    rows = pa.RecordBatch.from_arrays([pa.array(["x" * n for n in lengths])], ["text"])
    group, found = batches.Group(20, 500), []
    for start in range(0, 300, step):
        batch = rows.slice(start, step)
        while batch.num_rows:
            batch = group.take(batch)
            if group.full:
                found.append(group.size)
                assert group.rows <= 20 and group.size < 500 + 100
                group.release()
    assert found == [
        sum(lengths[start:end]) for start, end in zip(*ends(lengths, 20, 500), strict=True)
    ]


def ends(lengths, most_rows, most_bytes):
    """Where full groups begin and end, one row after the other."""
    begins, stops, start, size = [], [], 0, 0
    for place, length in enumerate(lengths, 1):
        size += length
        if place - start == most_rows or size >= most_bytes:
            begins.append(start)
            stops.append(place)
            start, size = place, 0
    return begins, stops
