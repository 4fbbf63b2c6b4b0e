"""A window of the data: the rows a candidate learns from, and what is not a window."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.train_candidate.training_rows import TrainingRows
from edgeline.components.train_candidate.window import take
from edgeline.errors import EdgelineError

JANUARY = 1_767_225_600_000_000  # 2026-01-01 in microseconds


@pytest.fixture
def given(tmp_path: Path) -> Path:
    with artifacts.writing(tmp_path / "examples", examples.SCHEMA) as draft:
        parts = {"train": ([1, 2, None, 3], [4, 5]), "eval": ([1, 9],)}
        for split, columns in parts.items():
            (draft.path / split).mkdir()
            for number, values in enumerate(columns):
                rows = {"x": pa.array(values, pa.int64()), "text": [str(each) for each in values]}
                pq.write_table(pa.table(rows), draft.path / split / f"part-{number:05d}.parquet")
        draft.metadata["splits"] = {"train": {"rows": 6}, "eval": {"rows": 2}}
        draft.metadata["windows"] = {"kept": "as it was"}
    return tmp_path / "examples"


@pytest.mark.parametrize(
    ("window", "rows"),
    [
        ({"from": 2}, [[2, 3], [4, 5]]),
        ({"from": 2, "to": 4}, [[2, 3]]),
        ({"to": 3}, [[1, 2]]),
        ({"from": 4.5}, [[5]]),
    ],
)
def test_the_training_split_has_the_rows_of_the_window_and_the_others_all(
    given, tmp_path, window, rows
) -> None:
    wanted = TrainingRows.parsed({"column": "x", **window}, "rows")
    count = sum(map(len, rows))
    assert take(given, wanted, "train", tmp_path / "out") == (count, 6)
    found = artifacts.read(tmp_path / "out", examples.SCHEMA)
    assert examples.splits(found) == {"train": count, "eval": 2}
    assert found.metadata["windows"] == {"kept": "as it was"}
    read = [pq.read_table(part)["x"].to_pylist() for part in examples.parts(found, "train")]
    assert read == rows
    assert pq.read_table(examples.parts(found, "eval")[0])["x"].to_pylist() == [1, 9]


def test_a_window_that_fits_no_row_or_column_is_told(given, tmp_path) -> None:
    out = tmp_path / "out"
    with pytest.raises(EdgelineError, match="No row of the split train has x in the window"):
        take(given, TrainingRows("x", 99.0), "train", out)
    with pytest.raises(EdgelineError, match="column 'y', which the examples do not have"):
        take(given, TrainingRows("y", 1.0), "train", out)
    with pytest.raises(EdgelineError, match="'text', which has string and no numbers or times"):
        take(given, TrainingRows("text", 1.0), "train", out)
    assert not out.exists()


def test_ends_are_numbers_or_times() -> None:
    parsed = TrainingRows.parsed({"column": "when", "from": "2026-01-01", "to": JANUARY + 1}, "r")
    assert (parsed.start, parsed.end) == (JANUARY, JANUARY + 1)
    assert TrainingRows.parsed(parsed.to_json(), "r") == parsed


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ([], "rows is not an object"),
        ({"from": 1}, "rows names no column"),
        ({"column": "x"}, "rows has neither from nor to"),
        ({"column": "x", "from": 3, "to": 3}, "rows is empty, since from is not below to"),
        ({"column": "x", "until": 3}, "rows.until: there is no such field"),
        ({"column": "x", "from": "soon"}, "rows.from is 'soon', which is not ISO 8601"),
        ({"column": "x", "from": True}, "rows.from is not a number or a time"),
        ({"column": "x", "from": float("nan")}, "rows.from is not a number or a time"),
    ],
)
def test_what_is_no_window_is_refused(window: object, said: str) -> None:
    with pytest.raises(EdgelineError, match=said):
        TrainingRows.parsed(window, "rows")
