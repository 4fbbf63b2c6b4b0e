"""Example weights: a column of the raw rows that says how much each row counts.

As TFMA's `example_weight_key` and Keras' `sample_weight`: a row of weight 2 counts as two rows, one
of weight 0 does not count. A weight is not a feature: neither preprocessing_fn nor a model gets it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeline.artifacts import Artifact, batches, examples
from edgeline.artifacts.features import is_list
from edgeline.errors import EdgelineError

KEY = "weight_column"  # in the metadata of transformed examples and of what was trained on them

Weights = npt.NDArray[np.float64]


def check(data: Artifact, column: str, splits: Iterable[str]) -> None:
    """Refuse a column that cannot be weights.

    Args:
        data: an `examples/v1` artifact.
        column: the weights' column.
        splits: of these, those that have rows are looked at.

    Raises:
        EdgelineError: it does not exist or is not a number, a weight is missing, negative or not
            finite, or all of a split are 0.
    """
    for split in splits:
        files = examples.parts(data, split)
        found = [_check_part(file, column, split) for file in files]
        rows, total = sum(rows for rows, _ in found), sum(total for _, total in found)
        if rows and not total:
            raise EdgelineError(
                f"Every weight in column {column!r} is 0 in split {split!r} ({rows:,} rows), so no "
                "row counts: correct the column, or weigh by another."
            )


def of(batch: pa.RecordBatch, column: str) -> Weights:
    """The weights of a batch whose split was checked: float64 [rows]."""
    found = _flat(batch.column(column)).cast(pa.float64(), safe=False)
    weights: Weights = pc.fill_null(found, np.nan).to_numpy(zero_copy_only=False)
    return weights


def mean(data: Artifact, split: str, column: str) -> float:
    """The mean weight of a checked split."""
    found = [of(batch, column) for batch in examples.read_batches(data, split, [column])]
    total, rows = sum(float(part.sum()) for part in found), sum(map(len, found))
    return total / rows if rows else 1.0


def unweighted(column: str) -> str:
    """What a step says whose numbers are of rows, where a model was trained with weights."""
    return (
        f"Each row counts once in differences, decisions and metrics here; the weights of column "
        f"{column!r} count in train and analyze"
    )


def _check_part(file: Path, column: str, split: str) -> tuple[int, float]:
    schema = pq.read_schema(file)
    if column not in schema.names:
        raise EdgelineError(
            f"Column {column!r} is to hold the rows' weights, but the examples have no such "
            f"column: they have {', '.join(schema.names)}."
        )
    _check_type(schema.field(column))
    rows, total = 0, 0.0
    first, wrong = (0, 0.0), 0
    with pq.ParquetFile(file) as opened:
        for batch in batches.stream(opened, [column]):
            if is_list(batch.column(0).type):
                lengths = pc.fill_null(pc.list_value_length(batch.column(0)), 0)
                if (many := np.flatnonzero(lengths.to_numpy(zero_copy_only=False) != 1)).size:
                    raise EdgelineError(
                        f"Column {column!r} is to hold the rows' weights, but does not have one "
                        f"value in row {rows + many[0]} of {split}/{file.name}: give one number "
                        "per row."
                    )
            weights = of(batch, column)
            places = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
            if places.size and not wrong:
                first = rows + int(places[0]), float(weights[places[0]])
            wrong += int(places.size)
            rows, total = rows + len(weights), total + float(weights.sum())
    if wrong:
        row, value = first
        shown = "missing or NaN" if np.isnan(value) else f"{value:g}"
        raise EdgelineError(
            f"Column {column!r} is to hold the rows' weights, but is {shown} in row {row} of "
            f"{split}/{file.name}, and {wrong:,} of its {rows:,} rows are missing, negative or not "
            "finite: a weight is a number of at least 0."
        )
    return rows, total


def _check_type(field: pa.Field) -> None:
    kind = field.type.value_type if is_list(field.type) else field.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise EdgelineError(
            f"Column {field.name!r} is to hold the rows' weights, but holds {kind}: weigh by a "
            "column of numbers."
        )


def _flat(column: pa.Array) -> pa.Array:
    return column.flatten() if is_list(column.type) else column
