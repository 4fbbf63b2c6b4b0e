"""Features that give the label away are named, others are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.artifacts.features import Feature
from edgeline.components.train.leakage import warnings

RANDOM = np.random.default_rng(0)
CLASSES = RANDOM.integers(0, 3, 500)
NOISE = RANDOM.normal(size=500).astype(np.float32)
WORDS = np.array([b"no", b"maybe", b"yes"], dtype=object)


def found(folder: Path, label: Any, task: str = "multiclass_classification", **given: Any) -> str:
    columns = {**given, "y": label}
    with artifacts.writing(folder / "transformed", examples.TRANSFORMED_SCHEMA) as draft:
        (draft.path / "train").mkdir()
        table = pa.table({name: pa.array(list(values)) for name, values in columns.items()})
        pq.write_table(table, draft.path / "train" / "part-00000.parquet")
        draft.metadata["splits"] = {"train": {"rows": len(label)}}
        made = [
            Feature(name, "string" if values.dtype == object else str(values.dtype))
            for name, values in columns.items()
        ]
        draft.metadata["features"] = [each.to_json() for each in made]
    transformed = artifacts.read(folder / "transformed", examples.TRANSFORMED_SCHEMA)
    return "\n".join(warnings(transformed, "train", made[:-1], made[-1], task))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (CLASSES, "'x' equals the label in all of the 500 rows"),
        (WORDS[CLASSES], "'x' has values that each mean one class of the label"),
        (CLASSES * 7 + 3, "'x' has values that each mean one class of the label"),
        ((CLASSES * 10 + NOISE).astype(np.float32), "'x' separates the classes of the label"),
    ],
)
def test_a_feature_that_gives_the_class_away_is_named(
    values: Any, said: str, tmp_path: Path
) -> None:
    assert said in found(tmp_path, CLASSES, x=values, noise=NOISE)


def test_a_straight_line_of_the_target_is_named(tmp_path: Path) -> None:
    target = NOISE * 3 + 1
    told = found(tmp_path, target, "regression", x=NOISE, other=NOISE**3)
    assert told.startswith("feature 'x' is a straight line of the label")
    assert "other" not in told


def test_a_good_feature_is_no_leak_and_few_rows_say_nothing(tmp_path: Path) -> None:
    wrong = np.where(np.arange(500) == 7, (CLASSES + 1) % 3, CLASSES)
    rows = np.arange(500)  # an id has a value for each row, so each means one class
    assert (
        found(tmp_path, CLASSES, x=wrong, good=(CLASSES + NOISE).astype(np.float32), id=rows) == ""
    )
    assert found(tmp_path, CLASSES[:90], x=CLASSES[:90]) == ""
