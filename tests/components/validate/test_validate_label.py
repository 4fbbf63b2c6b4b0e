"""What the page says of the label and of pictures, and that it stays small."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from markupsafe import Markup
from panel import cut_in_panel

from edgeline.artifacts.features import with_shape
from edgeline.components.validate import label, pictures

NUMBER = np.random.default_rng(0)


def _associations(data, column="y"):
    reading = label.read(data, "train", column)
    assert reading is not None
    return reading, {each.name: each for each in reading.columns}


def test_a_copy_says_all_of_the_label_and_chance_nothing(write_examples):
    yes = NUMBER.random(2000) < 0.25
    words = np.where(yes, "yes", "no")
    half = np.where(NUMBER.random(2000) < 0.5, words, "unknown")
    data = write_examples(
        train=pa.table(
            {
                "y": words,
                "copy": words,
                "half": half,
                "rises": yes + NUMBER.normal(size=2000),
                "falls": np.where(yes, -3.0, 4.0).astype(np.float32),
                "chance": NUMBER.normal(size=2000),
                "id": [f"row {place}" for place in range(2000)],
            }
        )
    )
    reading, found = _associations(data)
    shares = np.bincount(yes) / 2000
    assert reading.entropy == pytest.approx(-(shares * np.log2(shares)).sum())
    assert reading.second == "yes"
    assert [each.name for each in reading.columns[:2]] == ["copy", "falls"]
    assert found["copy"].share == pytest.approx(1, abs=0.01)
    assert found["half"].share == pytest.approx(0.5, abs=0.04)
    assert found["chance"].share < 0.01 > found["id"].share
    assert found["falls"].correlation == pytest.approx(-1)
    assert 0.3 < found["rises"].correlation < 0.5
    assert found["copy"].correlation is None


def test_mutual_information_of_a_known_table():
    """Of p(x, y) = 3/8 on the diagonal and 1/8 beside it: 1 - H(1/4) bits."""
    x, y = (
        np.array([0] * 4000 + [1] * 4000),
        np.array(([0] * 3 + [1]) * 1000 + ([1] * 3 + [0]) * 1000),
    )
    known = 1 + 0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)
    assert label.mutual_information(x, y) == pytest.approx(known, abs=2e-4)


def test_a_label_with_gaps_and_one_of_numbers(write_examples):
    number = NUMBER.normal(size=1000)
    given = [None if place % 10 == 0 else value for place, value in enumerate(number)]
    table = pa.table(
        {"y": given, "twice": 2 * number, "empty": pa.array([None] * 1000, pa.string())}
    )
    reading, found = _associations(write_examples(train=table))
    assert reading.rows == 900
    assert found["twice"].correlation == pytest.approx(1)
    assert found["twice"].share > 0.85
    assert found["empty"].share == 0
    assert label.read(write_examples(train=table.slice(0, 50)), "train", "y") is None
    assert label.read(write_examples(train=table), "train", "made later") is None


def test_the_page_tells_of_the_label(write_examples, run, tmp_path):
    table = pa.table({"kind": ["a"] * 300 + ["<b>"] * 100, "x": [0.0] * 300 + [1.0] * 100})
    run(write_examples(train=table, eval=table.slice(200, 200)), label="kind")
    page = Markup((tmp_path / "validation_report").read_text())
    assert "The commonest has 3 times the rows of the rarest." in page
    assert 'x <span class="badge warn">says it all</span>' in page
    assert "<td>&lt;b&gt;" in page or ">&lt;b&gt;<" in page
    assert cut_in_panel({"page": page}, tmp_path) == {}
    run(write_examples(train=table), label="made later")
    assert "preprocessing_fn makes it" in (tmp_path / "validation_report").read_text()


def _pictures(values, labels):
    field = with_shape(pa.field("photo", pa.list_(pa.float32(), values[0].size)), values.shape[1:])
    flat = pa.array(values.reshape(-1).astype(np.float32))
    column = pa.FixedSizeListArray.from_arrays(flat, type=field.type)
    schema = pa.schema([field, pa.field("kind", pa.string())])
    return pa.Table.from_arrays([column, pa.array(labels)], schema=schema)


def test_pictures_by_class_and_those_that_are_in_two_splits(write_examples, run, tmp_path):
    values = NUMBER.uniform(0, 255, (60, 40, 30, 3)).round()
    kinds = [f"kind {place % 3}" for place in range(60)]
    train, held = _pictures(values[:40], kinds[:40]), values[40:].copy()
    held[3] = np.clip(values[7] * 0.9 + 10, 0, 255)  # darker, and called otherwise
    held[5] = values[8]
    other = kinds[40:]
    other[5] = kinds[8]
    other[3] = "kind 2"
    run(write_examples(train=train, eval=_pictures(held, other)), label="kind")
    page = (tmp_path / "validation_report").read_text()
    assert page.count('alt="kind ') == 3 * 8
    assert cut_in_panel({"page": page}, tmp_path) == {}
    assert "2 of eval are in train nearly the same, 1 of them with another label." in page
    assert re.search(r"kind 1 and kind 2 <span class=.badge warn.>differ", page)
    assert len(page) < 400_000
    renamed = train.rename_columns(["photo", "label"])
    run(write_examples(train=renamed), label="made of it")
    page = (tmp_path / "validation_report").read_text()
    assert "preprocessing_fn makes it; this is the column label." in page
    assert page.count('alt="kind ') == 3 * 8


def test_plain_pictures_are_not_called_the_same(write_examples):
    flat = np.full((4, 20, 20, 1), 7.0)
    data = write_examples(train=_pictures(flat, ["a"] * 4), eval=_pictures(flat, ["a"] * 4))
    [column] = pictures.columns(data, "train")
    train, held = (pictures.look(data, split, column, "kind") for split in ("train", "eval"))
    assert pictures.nearly_same(train, held) == []
