"""What a retrained model must not be beside the one that is published: on rows that are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import bundle, reference
from edgeline.artifacts.features import Feature
from edgeline.components.analyze.beside_published import PublishedComparison, judge
from edgeline.components.analyze.vectorised_engine import Columns
from edgeline.runtimes.interpreter import load

LINE = Path(__file__).parents[2] / "data" / "line.tflite"


@dataclass
class Rows:
    """Rows of two files, whose labels are yes with the probability of the published score."""

    folder: Path
    task: str = "binary_classification"
    sizes: tuple[int, ...] = (3000, 200)

    def __post_init__(self) -> None:
        random = np.random.default_rng(1)
        self.x = random.random(sum(self.sizes)).astype("f4")
        self.label = (random.random(len(self.x)) < self.x).astype("f4")
        self.published = self.x[:, None].copy()
        self.candidate = np.clip(self.published + 0.01, 0, 1)
        self.poisoned = slice(self.sizes[0], None)  # the rows of the second file

    def judged(self, asked: bool = False) -> PublishedComparison:
        parts = []
        for at, size in enumerate(self.sizes):
            parts.append(self.folder / f"part-{at:05d}.parquet")
            x = pa.array(self.x[sum(self.sizes[:at]) :][:size])
            pq.write_table(pa.table({"x": x}), parts[-1])
        predictions = {"candidate": self.candidate, "baseline": self.published}
        columns = Columns(self.label, predictions, {}, {}, {})
        return judge(columns, self.task, parts, str(published(self.folder / "line")), asked)


def published(folder: Path) -> Path:
    if folder.exists():
        return folder
    folder.mkdir()
    (folder / "model.tflite").write_bytes(LINE.read_bytes())
    model, met = load(folder / "model.tflite"), reference.Builder()
    x = np.linspace(0, 1, 500, dtype="f4")[:, None]
    met.add({"x": x}, model({"x": x}))
    (folder / reference.FILE).write_bytes(reference.dumps(met.result()))
    made = bundle.Bundle(
        name="line", version=7, target="litert", model="model.tflite",
        task="binary_classification", quantisation="float", takes="raw",
        signature=model.signature, features=(Feature("x", "float32"),),
        files=artifacts.list_files(folder),
    )  # fmt: skip
    bundle.write_manifest(folder, made)
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path)


def test_a_model_that_is_as_good_on_rows_that_are_in_order_passes(rows):
    assert rows.judged() == PublishedComparison()


def test_flipped_labels_of_one_file_among_many_rows_are_told(rows):
    rows.label[rows.poisoned] = 1 - rows.label[rows.poisoned]
    rows.candidate[rows.poisoned] = 1 - rows.candidate[rows.poisoned]  # it has learned them
    [reason] = rows.judged().reasons
    assert reason.startswith("The labels of part 2 of 2 of the data contradict line 7: its AUC is")


def test_labels_that_are_all_flipped_are_told_though_the_candidate_looks_good(rows):
    rows.label, rows.candidate = 1 - rows.label, 1 - rows.candidate
    assert len(rows.judged().reasons) == 2


def test_a_column_without_a_value_is_told(rows):
    rows.x[rows.poisoned] = np.nan
    [reason] = rows.judged().reasons
    assert reason.startswith("No row of part 2 of 2 of the data has a value of 'x', which line 7")


def test_a_model_that_is_surely_worse_is_refused_where_eval_config_says_nothing(rows):
    rows.candidate = np.random.default_rng(2).random(rows.published.shape)
    [reason] = rows.judged().reasons
    assert reason.startswith("auc of all rows is 0.5") and "with line 7: surely worse" in reason
    assert rows.judged(asked=True).reasons == ()


def test_files_of_few_rows_are_not_judged_and_it_is_said(tmp_path):
    rows = Rows(tmp_path, sizes=(3000, 20))
    rows.label[rows.poisoned] = 1 - rows.label[rows.poisoned]
    found = rows.judged()
    assert not found.reasons and "of 20 rows, of files with fewer" in found.notes[0]


def test_of_many_small_files_in_order_none_is_refused_by_chance(tmp_path):
    refused = 0
    for seed in range(20):
        rows = Rows(tmp_path, sizes=(40,) * 20)
        random = np.random.default_rng(seed)
        rows.label = (random.random(len(rows.x)) < 0.4 + 0.2 * rows.x).astype("f4")  # hard to tell
        refused += bool([each for each in rows.judged(True).reasons if "contradict" in each])
    assert refused <= 2


def test_flipped_labels_of_one_small_file_of_twenty_are_told(tmp_path):
    rows = Rows(tmp_path, sizes=(40,) * 20)
    rows.label = (rows.x > 0.5).astype("f4")
    rows.label[-40:] = 1 - rows.label[-40:]
    [reason] = rows.judged(True).reasons
    assert reason.startswith("The labels of part 20 of 20 of the data contradict line 7")


@pytest.mark.parametrize("task", ["multiclass_classification", "regression"])
def test_other_tasks_are_contradicted_too(task, tmp_path):
    rows = Rows(tmp_path, task)
    random = np.random.default_rng(4)
    if task == "regression":
        rows.label = rows.x + random.normal(0, 0.1, len(rows.x)).astype("f4")
        rows.label[rows.poisoned] *= -1
    else:
        truth = random.integers(0, 3, len(rows.x))
        rows.published = 0.1 + 0.7 * np.eye(3, dtype="f4")[truth]
        rows.candidate, rows.label = rows.published, truth.astype("f4")
        rows.label[rows.poisoned] = (rows.label[rows.poisoned] + 1) % 3
    reasons = rows.judged().reasons
    assert any(
        "The labels of part 2 of 2 of the data contradict line 7" in each for each in reasons
    )


def test_on_beam_it_is_said_that_nothing_is_compared_file_by_file(rows):
    [note] = judge(None, rows.task, [], "", False).notes
    assert "as Beam evaluates" in note
