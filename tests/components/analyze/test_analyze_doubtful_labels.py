"""Labels that were made wrong are found, listed with their pictures, and read as FiftyOne's."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from edgeline.artifacts import features
from edgeline.components.analyze import doubtful_labels
from edgeline.components.analyze.confident_learning import find
from edgeline.components.analyze.doubtful_labels import DoubtfulRows

CLASSES = ["cat", "dog", "fox"]


def scored(seed: int = 0, rows: int = 600, wrong: int = 30):
    """Labels, some of them wrong, and scores that know the true ones."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, rows)
    scores = random.dirichlet((1, 1, 1), rows) * 0.4
    scores[np.arange(rows), truth] += 0.6
    label = truth.copy()
    swapped = random.choice(rows, wrong, replace=False)
    label[swapped] = (truth[swapped] + 1) % 3
    return label.astype(np.float32), scores.astype(np.float32), truth, set(swapped.tolist())


def test_labels_that_are_wrong_are_the_most_doubtful() -> None:
    label, scores, truth, swapped = scored()
    found, total = find(label, scores, CLASSES)
    assert total == len(found) > 10  # those of whose other class the model is surer than on average
    assert {each.row for each in found} <= swapped
    assert all(each.likely == CLASSES[truth[each.row]] for each in found)
    margins = [each.margin for each in found]
    assert margins == sorted(margins) and margins[0] < -0.5


def test_it_is_the_rule_of_the_paper(monkeypatch) -> None:
    label, scores, *_ = scored(1, rows=900, wrong=200)
    mean = np.array([scores[label == k, k].mean() for k in range(3)])
    doubtful = {}
    for row, (own, given) in enumerate(zip(label.astype(int), scores, strict=True)):
        confident = [k for k in range(3) if given[k] >= mean[k] - 1e-6]
        if confident and max(confident, key=given.__getitem__) != own:
            doubtful[row] = given[own] - max(given[k] for k in range(3) if k != own)
    monkeypatch.setattr("edgeline.components.analyze.confident_learning.PIECE_ROWS", 100)
    found, total = find(label, scores, CLASSES)
    assert total == len(doubtful) > 50 == len(found)
    assert [each.row for each in found] == sorted(doubtful, key=lambda row: doubtful[row])[:50]


def test_two_classes_and_one_that_is_absent() -> None:
    yes = np.array([0.9, 0.8, 0.1, 0.2, 0.94, 0.05], np.float32)
    found, total = find(np.array([1, 1, 0, 0, 0, 1]), yes, ["no", "yes"])
    assert total == 2
    assert [(each.row, each.label, each.likely) for each in found] == [
        (5, "yes", "no"),
        (4, "no", "yes"),
    ]
    assert find(np.zeros(4), np.full(4, 0.9, np.float32), ["no", "yes"]) == ([], 0)


def test_a_folder_of_pictures_is_as_fiftyone_lays_it_out(tmp_path) -> None:
    grey = np.repeat(np.arange(0, 240, 6, dtype=np.uint8), 24)  # 40 pictures of 4 x 6 pixels
    column = pa.FixedSizeListArray.from_arrays(pa.array(grey), 24)
    field = features.with_shape(pa.field("image", column.type), (4, 6, 1))
    table = pa.Table.from_arrays([column], schema=pa.schema([field]))
    parts = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for part, rows in zip(parts, (table.slice(0, 25), table.slice(25)), strict=True):
        pq.write_table(rows, part)
    label, scores, *_ = scored(2, rows=40, wrong=6)
    found, total = find(label, scores, CLASSES)
    doubts = DoubtfulRows(found, total, 40, parts)
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        doubtful_labels.write(folder, doubts)
    dataset = tmp_path / "one/doubtful_labels"
    document = json.loads((dataset / "metadata.json").read_text())
    fields = {each["name"]: each for each in document["sample_fields"]}
    assert document["media_type"] == "image"
    assert fields["ground_truth"]["embedded_doc_type"] == "fiftyone.core.labels.Classification"
    samples = json.loads((dataset / "samples.json").read_text())["samples"]
    assert [each["row"] for each in samples] == [each.row for each in found]
    for each, told in zip(samples, found, strict=True):
        assert set(each) - {"_id", "_media_type", "_rand"} <= set(fields)
        assert each["ground_truth"]["label"] == told.label
        with Image.open(dataset / each["filepath"]) as picture:
            assert picture.size == (6, 4)
            assert picture.getpixel((0, 0)) == 6 * told.row
    same = [sorted(p.read_bytes() for p in (tmp_path / n).rglob("*.*")) for n in ("one", "two")]
    assert same[0] == same[1]
    [section] = doubtful_labels.sections(doubts, [], CLASSES)
    assert str(section).count("<img") == len(found) and "FiftyOne" in str(section)
