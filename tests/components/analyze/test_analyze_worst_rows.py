"""The rows on which a model is most wrong: which they are, and what the page shows of them."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline.artifacts.features import with_shape
from edgeline.components.analyze import worst_rows


def _rows(task, label, *predictions):
    named = dict(zip(("candidate", "baseline"), map(np.float32, predictions), strict=False))
    return worst_rows.find(task, np.array(label, np.float32), named)


def test_two_classes_have_the_most_confident_errors_of_both():
    found = _rows("binary_classification", [0, 0, 1, 1], [0.9, 0.2, 0.05, 0.7])
    assert [(each.row, each.label) for each in found[:2]] == [(2, 1), (0, 0)]
    assert found[0].score == pytest.approx(0.95)


def test_several_classes_have_errors_by_the_probability_of_what_was_said():
    scores = [[0.9, 0.1, 0], [0.1, 0.6, 0.3], [0.05, 0.05, 0.9]]
    before = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    found = _rows("multiclass_classification", [1, 2, 2], scores, before)
    assert [(e.row, e.prediction, e.baseline) for e in found] == [(0, 0, 1), (1, 1, 2)]


def test_numbers_have_the_largest_distances():
    found = _rows("regression", [1, 2, 3], [1, -8, 4.5])
    assert [(each.row, each.score) for each in found] == [(1, 10), (2, 1.5), (0, 0)]


@pytest.mark.parametrize("task", ["binary_classification", "regression"])
def test_parts_of_a_split_give_the_rows_of_the_whole_also_where_many_are_equal(task):
    """As Beam's workers find them: in slices, in any order."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 5000).astype(np.float32)
    scores = {"candidate": random.integers(0, 4, 5000).astype(np.float32) / 4}
    whole = worst_rows.find(task, label, scores)
    bounds = [0, 7, 1000, 1003, 4000, 5000]
    parts = [
        worst_rows.find(task, label[a:b], {"candidate": scores["candidate"][a:b]}, a)
        for a, b in itertools.pairwise(bounds)
    ]
    assert worst_rows.merged(parts[::-1], task) == whole
    together = [worst_rows.merged(parts[3:], task), *parts[:3]]
    assert worst_rows.merged(together, task) == whole
    for side in (0, 1):  # equally wrong, so the first rows
        rows = [each.row for each in whole if each.label == side and each.score == whole[0].score]
        assert rows == sorted(rows)


def test_only_errors_at_the_threshold_that_decides_are_shown(tmp_path):
    pq.write_table(pa.table({"x": [1, 2, 3]}), tmp_path / "part")
    rows = _rows("binary_classification", [0, 0, 1], [0.6, 0.3, 0.9])
    [section] = worst_rows.section([tmp_path / "part"], rows, ["no", "yes"], 0.5, ["x"])
    assert section.body.count("<tr>") == 1 + 1 and ">0.6000<" in section.body
    [section] = worst_rows.section([tmp_path / "part"], rows, ["no", "yes"], 0.7, ["x"])
    assert "every row is right" in section.body


def test_rows_are_shown_with_their_pictures_from_whichever_part_they_are_in(tmp_path):
    field = with_shape(pa.field("photo", pa.list_(pa.float32(), 16)), (4, 4, 1))
    parts = []
    for part in range(2):
        values = pa.array(np.full(3 * 16, 100.0 * part, np.float32))
        column = pa.FixedSizeListArray.from_arrays(values, type=field.type)
        names = pa.array([f"<b>{part}.{row}" for row in range(3)])
        schema = pa.schema([field, pa.field("name", pa.string())])
        table = pa.Table.from_arrays([column, names], schema=schema)
        parts.append(tmp_path / str(part))
        pq.write_table(table, parts[-1], row_group_size=2)
    rows = _rows(
        "multiclass_classification", [0] * 6, [[1, 0], [1, 0], [0.4, 0.6], [1, 0], [1, 0], [0, 1]]
    )
    [section] = worst_rows.section(parts, rows, ["a", "b", "c"], 0.5, ["photo"])
    assert re.findall(r"&lt;b&gt;(\d\.\d)", section.body) == ["1.2", "0.2"]
    assert section.body.count('src="data:image/png') == 2
