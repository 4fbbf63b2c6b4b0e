"""References: columns, counts and the file of a bundle."""

from __future__ import annotations

import numpy as np
import pytest

from edgeline.artifacts import reference
from edgeline.artifacts.features import MISSING_INT
from edgeline.errors import EdgelineError

RNG = np.random.default_rng(4)


def strings(values):
    array = np.empty((len(values), 1), object)
    array[:, 0] = [value.encode() for value in values]
    return array


def built(inputs, outputs=None, batch=1000):
    outputs = outputs or {"prediction": np.zeros((len(next(iter(inputs.values()))), 1), "f4")}
    builder = reference.Builder()
    rows = len(next(iter(inputs.values())))
    for start in range(0, rows, batch):
        piece = slice(start, start + batch)
        builder.add(
            {name: array[piece] for name, array in inputs.items()},
            {name: array[piece] for name, array in outputs.items()},
        )
    return builder.result()


def test_each_kind_of_column():
    fare = RNG.gamma(2, 6, (3000, 1)).astype("f4")
    fare[:30] = np.nan
    hour = RNG.integers(0, 24, (3000, 1))
    hour[:60] = MISSING_INT
    company = strings(RNG.choice(["Blue", "Red", ""], 3000, p=[0.7, 0.2, 0.1]))
    image = RNG.integers(0, 256, (3000, 8, 8, 3)).astype("u1")
    scores = RNG.random((3000, 5)).astype("f4")
    found = built(
        {"fare": fare, "hour": hour, "company": company, "image": image}, {"scores": scores}
    )
    assert isinstance(found.inputs["fare"], reference.Numbers)
    assert found.inputs["fare"].missing == 30
    assert found.inputs["hour"].missing == 60
    assert set(found.inputs["hour"].values) == {str(h) for h in range(24)}
    assert next(iter(found.inputs["company"].values)) == "Blue"
    assert found.inputs["company"].missing == int((company == b"").sum())
    assert {"image.mean", "image.deviation"} <= set(found.inputs)
    assert set(found.outputs) == {"scores.class", "scores.top"}
    assert set(found.outputs["scores.class"].values) == {"0", "1", "2", "3", "4"}


def test_counts_are_those_of_numpy_and_a_frequent_value_has_its_own_bin():
    values = np.where(RNG.random(5000) < 0.3, 7.0, RNG.normal(5, 3, 5000))
    column = built({"x": values[:, None]}).inputs["x"]
    assert column.counts.sum() == 5000
    for cut, below in zip(column.cuts, np.cumsum(column.counts), strict=False):
        assert below == (values <= cut).sum()
    place = int(np.searchsorted(column.cuts, 7.0))
    assert column.counts[place] == (values == 7.0).sum()


def test_it_is_read_as_it_was_written_and_does_not_depend_on_batches(tmp_path):
    inputs = {"x": RNG.normal(0, 1, (2000, 1)), "c": strings(RNG.choice(["a", "b"], 2000))}
    data = reference.dumps(built(inputs))
    assert data == reference.dumps(built(inputs, batch=77))
    (tmp_path / "reference.json").write_bytes(data)
    assert reference.dumps(reference.read(tmp_path / "reference.json")) == data


def test_it_stays_small_and_bounded_for_many_rows_and_wide_data():
    rows = 3 * reference.SAMPLE_ROWS
    builder = reference.Builder()
    for start in range(0, rows, 8192):
        x = np.arange(start, min(rows, start + 8192), dtype="f4")[:, None]
        builder.add({"x": x}, {"y": x})
    assert builder.kept <= reference.SAMPLE_ROWS
    column = builder.result().inputs["x"]
    assert (
        abs(np.interp(rows / 2, column.cuts, np.cumsum(column.counts)[:-1]) / column.rows - 0.5)
        < 0.02
    )
    wide = {f"feature_{i}": RNG.normal(0, 1, (300, 1)) for i in range(300)}
    wide["id"] = strings([f"{'x' * 60}{i}" for i in range(300)])
    assert len(reference.dumps(built(wide))) <= reference.MAX_BYTES


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"edgeline_reference": "reference/v9"}', '{"edgeline_reference": "reference/v1"}'],
)
def test_a_malformed_file_is_refused_in_a_sentence(tmp_path, text):
    file = tmp_path / "reference.json"
    file.write_text(text)
    with pytest.raises(EdgelineError, match="is not a reference"):
        reference.read(file)
