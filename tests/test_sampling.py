"""Rows that stand for many: whoever takes some takes the same."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.features import Feature
from edgeline.artifacts.sampling import spread
from edgeline.components.compile import rows as compile_rows
from edgeline.components.convert import layer_errors
from edgeline.components.verify import parity
from edgeline.errors import EdgelineError

NUMBER = Feature("number", "int64")


@pytest.mark.parametrize(("rows", "most"), [(1, 1), (1, 9), (5, 5), (7, 3), (1000, 32), (9, 2)])
def test_rows_lie_evenly_with_both_ends(rows, most):
    chosen = spread(rows, most)
    assert len(chosen) == min(rows, most) and chosen[0] == 0
    assert chosen[-1] == (rows - 1 if most > 1 else 0)
    steps = np.diff(chosen)
    assert not len(steps) or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_none_of_none():
    assert spread(0, 5).tolist() == spread(5, 0).tolist() == []


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """1,000 numbered rows in three parts."""
    folder = tmp_path_factory.mktemp("numbers") / "examples"
    with artifacts.writing(folder, examples.SCHEMA) as draft:
        (draft.path / "eval").mkdir()
        (draft.path / "none").mkdir()
        for part, (start, end) in enumerate([(0, 10), (10, 611), (611, 1000)]):
            table = pa.table({"number": np.arange(start, end)})
            pq.write_table(table, draft.path / "eval" / f"part-{part:05}.parquet")
        draft.metadata["splits"] = {"eval": {"rows": 1000}, "none": {"rows": 0}}
    return artifacts.read(folder, examples.SCHEMA)


def test_every_reader_takes_the_same_rows(numbers, tmp_path):
    streamed = examples.read_spread(numbers, "eval", [NUMBER], 32)["number"]
    assert streamed[:, 0].tolist() == spread(1000, 32).tolist()
    of_layers = layer_errors._spread({"number": np.arange(1000)})["number"]
    assert of_layers.tolist() == streamed[:, 0].tolist()
    np.save(tmp_path / "rows.npy", np.arange(1000))
    of_a_file = compile_rows.read_rows(tmp_path / "rows.npy", [NUMBER])["number"]
    assert of_a_file[:, 0].tolist() == spread(1000, 100).tolist()


def test_the_points_of_a_report_are_spread(monkeypatch):
    monkeypatch.setattr(parity, "POINTS", 32)
    values = np.arange(1000, dtype=np.float32)[:, None]
    cloud = {"prediction": values, "label": values}
    batches = (
        parity.Batch({}, {n: v[at : at + 300] for n, v in cloud.items()}, {"prediction": edge})
        for at in range(0, 1000, 300)
        for edge in [values[at : at + 300]]
    )
    found = parity.compare(batches, 1000, "regression", 0.5)
    assert [cloud for cloud, _ in found.points] == spread(1000, 32).tolist()


def test_no_row_is_refused_by_name(numbers):
    with pytest.raises(EdgelineError, match=r"'none' .* which has 0: at least one"):
        examples.read_spread(numbers, "none", [NUMBER], 4)
    with pytest.raises(EdgelineError, match="no split 'test': it has eval, none"):
        examples.read_spread(numbers, "test", [NUMBER], 4)


def test_arrays_of_a_file_have_the_same_rows(tmp_path):
    np.savez(tmp_path / "rows.npz", number=np.arange(300), other=np.arange(200))
    other = Feature("other", "int64")
    with pytest.raises(EdgelineError, match=r"differ in their rows: .*300.*200"):
        compile_rows.read_rows(tmp_path / "rows.npz", [NUMBER, other])
