"""A project for a data file of one's own: its columns as features, its label, proposed thresholds.

What is proposed is little more than an answer that is always the same gives, so that a model that
learnt nothing is not published; the report of the first run proposes what the model holds.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from edgeline import artifacts
from edgeline.artifacts import examples, models
from edgeline.components.ingest.ingest import ingest
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.stores import remote

MOST_CLASSES = 100  # of a label of words
MOST_WHOLE = 20  # of a label of whole numbers: of more it is a quantity
MOST_WORDS = 10_000  # different ones of a column that is a feature
RARE = 0.2  # share of the smaller class below which accuracy tells little
MANY = 100  # features from which on those of a kind are packed into one
MODULES = ("module.py.txt", "wide_module.py.txt")  # templates: of few features, and of many
YES = ("yes", "true", "1", "y", "t", "positive", "fault", "fraud")
ROWS_OF_SPLIT = "rows"
BINARY, MULTICLASS, REGRESSION = models.TASKS


@dataclass
class ColumnFacts:
    """The values of a column: how many, how often each (while they are few), and their mean."""

    type: pa.DataType
    filled: int = 0
    first_gap: int | None = None
    total: float = 0.0
    squares: float = 0.0
    values: Counter[Any] = field(default_factory=Counter)

    @property
    def mean(self) -> float:
        return self.total / self.filled if self.filled else 0.0

    @property
    def deviation(self) -> float:
        return math.sqrt(max(self.squares / max(self.filled, 1) - self.mean**2, 0.0))

    @property
    def is_number(self) -> bool:
        return bool(pa.types.is_integer(self.type) or pa.types.is_floating(self.type))

    def add(self, values: pa.Array, before: int) -> None:
        """Count some values, which stand after others in the column."""
        if values.null_count and self.first_gap is None:
            self.first_gap = before + int(pc.indices_nonzero(values.is_null())[0].as_py())
        there = values.drop_null()
        self.filled += len(there)
        if self.is_number:
            numbers = there.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            numbers = numbers[np.isfinite(numbers)]
            self.total += float(numbers.sum())
            self.squares += float(numbers @ numbers)
        if len(self.values) <= MOST_WORDS:
            counted = there.value_counts()
            self.values.update(
                dict(
                    zip(
                        counted.field("values").to_pylist(),
                        counted.field("counts").to_pylist(),
                        strict=True,
                    )
                )
            )


@dataclass(frozen=True)
class Label:
    """What a label is.

    Attributes:
        task: one of `edgeline.artifacts.models.TASKS`.
        told: in words.
        positive: of two values that which a yes means; else None.
        vocabulary: whether classes are numbered by a vocabulary.
        classes: how many there are.
        largest: the share of the commonest value.
        deviation: of a regression's.
    """

    task: str
    told: str
    positive: Any = None
    vocabulary: bool = False
    classes: int = 0
    largest: float = 0.0
    deviation: float = 0.0


@dataclass(frozen=True)
class ProposedThreshold:
    """A metric with its threshold, and what that is."""

    metric: str
    bound: str
    value: float
    why: str


def fill(folder: Path, data: str, label: str, templates: Mapping[str, str]) -> list[str]:
    """Write the files of a project.

    Args:
        folder: where to; its name is the project's.
        data: as ingest takes it.
        label: the label's column.
        templates: text with `$` names, by file; of `MODULES` one is written, as `module.py`.

    Returns:
        What people should know of what was made, a sentence each.

    Raises:
        EdgelineError: the data cannot be read, or has no such label.
    """
    columns, rows = column_facts(data)
    if label not in columns:
        raise EdgelineError(
            f"{data} has no column {label!r}. {did_you_mean(label, list(columns), 'There are')}"
        )
    found = label_of(label, columns[label], rows)
    features = {name: seen for name, seen in columns.items() if name != label}
    out = {name: why for name, seen in features.items() if (why := _unfit(seen, rows))}
    taken = {name: seen for name, seen in features.items() if name not in out}
    if not taken:
        raise EdgelineError(f"{data} has no column that is a feature beside {label!r}.")
    proposed = proposals(found)
    numbers = {name: _usual(seen) for name, seen in taken.items() if seen.is_number}
    filled = {
        "name": folder.name,
        "file": Path(data).name,
        "label": _shown(label),
        "shown_label": f"`{label}`",
        "summary": _shown(f"{label} of {Path(data).name}"),
        "data": _shown(",".join(map(_absolute, data.split(",")))),
        "positive": f"POSITIVE = {_shown(found.positive)}\n" if found.task == BINARY else "",
        "numbers": _shown(numbers),
        "decimals": _shown({n: usual for n, usual in numbers.items() if type(usual) is float}),
        "whole_numbers": _shown({n: usual for n, usual in numbers.items() if type(usual) is int}),
        "words": _shown([name for name, seen in taken.items() if not seen.is_number]),
        "left_out": "".join(f"# left out: {name!r}, {why}\n" for name, why in out.items()),
        "label_told": found.told,
        "proposed": "\n".join(f"# {each.metric}: {each.why}" for each in proposed),
        "evaluation": _shown(eval_config(proposed)),
        "training": ", ".join(f'"{n}": {_shown(v)}' for n, v in _training(found, rows).items()),
        **_code(found),
    }
    few, many = MODULES
    texts = {name: text for name, text in templates.items() if name not in MODULES}
    texts[few] = templates[many if len(taken) > MANY else few]
    for name, text in texts.items():
        (folder / name.removesuffix(".txt")).write_text(_substituted(text, filled), "utf-8")
    told = [f"{label} is {found.told}."]
    told += [f"{name} is left out: {why}." for name, why in out.items()]
    return [*told, *(f"Proposed: {each.metric}, {each.why}." for each in proposed)]


def column_facts(data: str) -> tuple[dict[str, ColumnFacts], int]:
    """The columns of data as ingest reads them, and the number of rows."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "examples"
        ingest(data, place, split_ratios={ROWS_OF_SPLIT: 1})
        read = artifacts.read(place, examples.SCHEMA)
        columns: dict[str, ColumnFacts] = {}
        rows = 0
        for batch in examples.read_batches(read, ROWS_OF_SPLIT):
            for column in batch.schema:
                seen = columns.setdefault(column.name, ColumnFacts(column.type))
                if not pa.types.is_nested(column.type):
                    seen.add(batch.column(column.name), rows)
            rows += len(batch)
    return columns, rows


def label_of(name: str, seen: ColumnFacts, rows: int) -> Label:
    """What a column is as a label.

    Raises:
        EdgelineError: it has missing values, one value, or too many to be classes.
    """
    if pa.types.is_nested(seen.type):
        raise EdgelineError(f"Column {name!r} holds lists, which are no label: name another.")
    if seen.first_gap is not None:
        raise EdgelineError(
            f"Column {name!r} is missing in {rows - seen.filled:,} of {rows:,} rows, row "
            f"{seen.first_gap + 1} of the data first: leave rows without a label out."
        )
    values, count = seen.values, len(seen.values)
    if count < 2:
        raise EdgelineError(f"Column {name!r} has the same value in each row: name another label.")
    largest = max(values.values()) / rows
    if count == 2:
        yes = _positive(values)
        share = values[yes] / rows
        return Label(BINARY, f"{yes!r} in {share:.1%} of {rows:,} rows", yes, largest=largest)
    whole = pa.types.is_integer(seen.type)
    if seen.is_number and not (whole and count <= MOST_WHOLE):
        told = f"a number, {seen.mean:.4g} on average with a deviation of {seen.deviation:.4g}"
        return Label(REGRESSION, told, deviation=seen.deviation)
    if count > MOST_CLASSES:
        raise EdgelineError(
            f"Column {name!r} has {count:,} different texts or more, too many to be classes (at "
            f"most {MOST_CLASSES}): name another label."
        )
    told = f"one of {count} classes, the commonest {largest:.1%} of {rows:,} rows"
    numbered = whole and sorted(values) == list(range(count))
    return Label(MULTICLASS, told, vocabulary=not numbered, classes=count, largest=largest)


def proposals(label: Label) -> list[ProposedThreshold]:
    """Metrics that fit a label, each a little above an answer that is always the same."""
    if label.task == REGRESSION:
        why = f"always saying the mean has {label.deviation:.4g}"
        return [
            ProposedThreshold("RootMeanSquaredError", "upper_bound", _short(label.deviation), why)
        ]
    always = math.ceil(label.largest * 1000) / 1000
    if label.task == MULTICLASS:
        why = f"always saying the commonest class has {label.largest:.3f}"
        return [ProposedThreshold("SparseCategoricalAccuracy", "lower_bound", always, why)]
    found = [ProposedThreshold("AUC", "lower_bound", 0.6, "a score at random has 0.5")]
    if label.largest <= 1 - RARE:
        why = f"always giving the commoner answer has {label.largest:.3f}"
        return [*found, ProposedThreshold("BinaryAccuracy", "lower_bound", always, why)]
    why = (
        f"a model that never says yes has 0, though its accuracy is {label.largest:.3f}; consider "
        "class_weights and decision_goal"
    )
    return [*found, ProposedThreshold("Recall", "lower_bound", 0.1, why)]


def eval_config(proposed: list[ProposedThreshold]) -> dict[str, Any]:
    """An EvalConfig with proposed thresholds, and the metrics that people look at beside."""
    metrics: list[dict[str, Any]] = [
        {"class_name": each.metric, "threshold": {"value_threshold": {each.bound: each.value}}}
        for each in proposed
    ]
    if proposed[0].metric == "AUC":
        beside = ("BinaryAccuracy", "Precision", "Recall")
        named = [each.metric for each in proposed]
        metrics += [{"class_name": name} for name in beside if name not in named]
    return {"metrics_specs": [{"metrics": metrics}]}


def _unfit(seen: ColumnFacts, rows: int) -> str:
    """Why a column is no feature for a beginning; "" where it is."""
    if pa.types.is_nested(seen.type):
        return "it holds lists"
    if pa.types.is_binary(seen.type):
        return "it holds bytes"
    if not seen.filled:
        return "it has no value"
    if len(seen.values) == 1 and seen.first_gap is None:
        return "it has the same value in each row"
    if pa.types.is_integer(seen.type) and len(seen.values) == rows:
        return "it has another whole number in each row, as an id has"
    if not seen.is_number and (len(seen.values) > MOST_WORDS or len(seen.values) == rows):
        return "its texts differ in most rows: see edgeline's docs/text.md"
    return ""


def _positive(values: Counter[Any]) -> Any:
    """Of two values that which a yes means: a known word, or the rarer one."""
    known = [value for value in values if str(value).strip().lower() in YES]
    if len(known) == 1:
        return known[0]
    return min(sorted(values, key=str), key=values.__getitem__)


def _training(label: Label, rows: int) -> dict[str, Any]:
    size = max(1, min(40, rows // 4))
    steps = int(min(2000, max(150, 10 * rows // size)))
    found: dict[str, Any] = {"task": label.task, "steps": steps, "batch_size": size}
    return found | ({"label_vocabulary": "label"} if label.vocabulary else {})


def _code(label: Label) -> dict[str, str]:
    """The parts of the module that depend on the task."""
    dense = "keras.layers.Dense"
    if label.task == BINARY:
        return {
            "made_label": "tf.cast(inputs[LABEL] == POSITIVE, tf.int64)",
            "output": f'{dense}(1, activation="sigmoid")(hidden)',
            "loss": "binary_crossentropy",
            "metric": "accuracy",
        }
    if label.task == REGRESSION:
        return {
            "made_label": "tf.cast(inputs[LABEL], tf.float32)",
            "output": f"{dense}(1)(hidden)",
            "loss": "mean_squared_error",
            "metric": "mean_absolute_error",
        }
    vocabulary = 'tft.compute_and_apply_vocabulary(inputs[LABEL], vocab_filename="label")'
    return {
        "made_label": vocabulary if label.vocabulary else "inputs[LABEL]",
        "output": f'{dense}({label.classes}, activation="softmax")(hidden)',
        "loss": "sparse_categorical_crossentropy",
        "metric": "accuracy",
    }


def _absolute(place: str) -> str:
    return place if remote.scheme(place.strip()) else str(Path(place.strip()).absolute())


def _usual(seen: ColumnFacts) -> float:
    """What stands for a missing number: the mean, in the column's type."""
    return round(seen.mean) if pa.types.is_integer(seen.type) else _short(seen.mean)


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def _shown(value: object) -> str:
    """A value as code; JSON of numbers, texts, lists and objects is Python's, too."""
    return json.dumps(value, indent=4, ensure_ascii=False)


def _substituted(text: str, filled: Mapping[str, str]) -> str:
    return Template(text).substitute(filled)
