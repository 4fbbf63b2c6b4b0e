"""Examples as Parquet: splits, parts, streaming in order."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.errors import EdgelineError


@pytest.fixture
def rows(tmp_path):
    """Split `train` with rows 0 to 24 in three parts, and a split `eval` without any."""
    with artifacts.writing(tmp_path / "examples", examples.SCHEMA) as draft:
        for split in ("train", "eval"):
            (draft.path / split).mkdir()
        for part, numbers in enumerate((range(10), range(10, 12), range(12, 25))):
            table = pa.table({"n": list(numbers), "text": [str(n) for n in numbers]})
            pq.write_table(table, draft.path / "train" / f"part-{part:05d}.parquet")
        draft.metadata["splits"] = {"train": {"rows": 25}, "eval": {"rows": 0}}
    return artifacts.read(tmp_path / "examples", examples.SCHEMA)


def test_a_split_streams_in_its_order(rows):
    batches = list(examples.read_batches(rows, "train", batch_rows=4))
    assert max(batch.num_rows for batch in batches) == 4
    assert [n for batch in batches for n in batch["n"].to_pylist()] == list(range(25))


def test_only_the_columns_asked_for_are_read(rows):
    assert next(examples.read_batches(rows, "train", ["text"])).schema.names == ["text"]


def test_splits_parts_and_counts(rows):
    assert examples.splits(rows) == {"train": 25, "eval": 0}
    parts = examples.parts(rows, "train")
    assert [part.name for part in parts] == [f"part-{i:05d}.parquet" for i in range(3)]
    assert examples.count_rows(parts) == 25
    assert examples.parts(rows, "eval") == []
    assert list(examples.read_batches(rows, "eval")) == []
    assert examples.arrow_schema(rows, "train").names == ["n", "text"]


def test_an_unknown_split_is_named(rows):
    with pytest.raises(EdgelineError, match=r"has no split 'test': it has train, eval|eval, train"):
        examples.parts(rows, "test")


def test_an_empty_split_has_no_schema(rows):
    with pytest.raises(EdgelineError, match=r"Split 'eval' .* is empty: give it a larger ratio"):
        examples.arrow_schema(rows, "eval")
