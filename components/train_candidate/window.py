"""A window of the data: examples whose training split has only what a candidate learns from.

All candidates of a run are evaluated and verified on the same rows, which stay as they are.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.train_candidate.training_rows import TrainingRows
from edgeline.errors import EdgelineError, did_you_mean


def take(source: Path, rows: TrainingRows, split: str, output: Path) -> tuple[int, int]:
    """Write examples whose `split` has only some rows; all other splits stay as they are.

    A row without a value in the column is not in any window.

    Args:
        source: an `examples/v1` folder.
        output: where the `examples/v1` folder goes; files that stay are links.

    Returns:
        how many rows are in, and how many there were.

    Raises:
        EdgelineError: the column is not there or has no numbers, or no row is in the window.
    """
    given = artifacts.read(source, examples.SCHEMA)
    _check_column(examples.arrow_schema(given, split), rows.column)
    with artifacts.writing(output, examples.SCHEMA) as draft:
        for name in given.files:
            place = draft.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not name.startswith(f"{split}/"):
                place.symlink_to(source.resolve() / name)
        (draft.path / split).mkdir(exist_ok=True)
        kept = sum(
            _filtered(part, rows, draft.path / split / part.name)
            for part in examples.parts(given, split)
        )
        before = examples.splits(given)[split]
        if not kept:
            raise EdgelineError(
                f"No row of the split {split} has {rows.column} in the window {rows.to_json()}: "
                "widen it."
            )
        draft.metadata |= given.metadata
        draft.metadata["splits"] = {
            **given.metadata["splits"],
            split: {**given.metadata["splits"][split], "rows": kept},
        }
    return kept, before


def _check_column(schema: pa.Schema, column: str) -> None:
    if column not in schema.names:
        raise EdgelineError(
            f"rows names the column {column!r}, which the examples do not have. "
            f"{did_you_mean(column, schema.names, 'They have')}"
        )
    kind = schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise EdgelineError(
            f"rows names the column {column!r}, which has {kind} and no numbers or times: name "
            "another, or declare it a timestamp in column_types."
        )


def _filtered(part: Path, rows: TrainingRows, output: Path) -> int:
    """Write the rows of a part that are in, batch by batch; how many they are."""
    kept = 0
    with pq.ParquetFile(part) as file, pq.ParquetWriter(output, file.schema_arrow) as writer:
        for batch in file.iter_batches():
            values = batch.column(rows.column).cast(pa.float64(), safe=False)
            inside = pc.is_valid(values)
            if rows.start is not None:
                inside = pc.and_(inside, pc.greater_equal(values, rows.start))
            if rows.end is not None:
                inside = pc.and_(inside, pc.less(values, rows.end))
            found = batch.filter(inside)  # null counts as out
            if len(found):
                writer.write_batch(found)
            kept += len(found)
    if not kept:
        output.unlink()
    return kept
