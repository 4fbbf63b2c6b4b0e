"""Examples: rows as Parquet, one folder per split, read in batches.

Layout of an `examples/v1` (raw) or `transformed_examples/v1` artifact:

    train/part-00000.parquet   train/part-00001.parquet   eval/part-00000.parquet

Metadata: `{"splits": {"train": {"rows": 10000}, ...}}` and whatever its writer adds.
Rows keep their order; a missing value is a null. A part never mixes two source files,
so data that grows by files leaves the parts of the earlier files as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edgeline.artifacts import Artifact, batches, sampling
from edgeline.artifacts.batches import BATCH_BYTES, BATCH_ROWS
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array

__all__ = [
    "SCHEMA",
    "TRANSFORMED_SCHEMA",
    "arrow_schema",
    "count_rows",
    "parts",
    "read_batches",
    "splits",
]

SCHEMA = "examples/v1"
TRANSFORMED_SCHEMA = "transformed_examples/v1"
SAMPLED_GROUPS = 16  # row groups from which a sample is taken, where these have enough rows


def splits(examples: Artifact) -> dict[str, int]:
    """Rows of each split, by name."""
    return {name: int(facts["rows"]) for name, facts in examples.metadata["splits"].items()}


def parts(examples: Artifact, split: str) -> list[Path]:
    """The Parquet files of a split, in order.

    Raises:
        EdgelineError: there is no such split.
    """
    if split not in examples.metadata["splits"]:
        raise EdgelineError(
            f"{examples.path} has no split {split!r}: it has {', '.join(splits(examples))}."
        )
    return sorted((examples.path / split).glob("part-*.parquet"))


def arrow_schema(examples: Artifact, split: str) -> pa.Schema:
    """The Arrow schema of a split's first part."""
    files = parts(examples, split)
    if not files:
        raise EdgelineError(f"Split {split!r} of {examples.path} is empty: give it a larger ratio.")
    return pq.read_schema(files[0])


def read_batches(
    examples: Artifact,
    split: str,
    columns: Sequence[str] | None = None,
    batch_rows: int = BATCH_ROWS,
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[pa.RecordBatch]:
    """Stream a split in its order, at most `batch_rows` rows and about `batch_bytes` at a time."""
    for part in parts(examples, split):
        with pq.ParquetFile(part) as file:
            yield from batches.stream(file, columns, batch_rows, batch_bytes)


def read_spread(
    examples: Artifact, split: str, features: Sequence[Feature], most: int
) -> dict[str, Array]:
    """Features [rows, ...] of rows that lie evenly over a split (see `sampling`), streamed.

    Raises:
        EdgelineError: there is no such split, it or the choice has no row, or a column does not
            fit its feature.
    """
    total = splits(examples).get(split, 0)
    parts(examples, split)  # names the splits where there is no such
    wanted = sampling.spread(total, most)
    if not len(wanted):
        raise EdgelineError(
            f"No row is taken of split {split!r} of {examples.path}, which has {total:,}: at least "
            "one is needed."
        )
    found, start = [], 0
    for batch in read_batches(examples, split, [feature.name for feature in features]):
        here = wanted[(wanted >= start) & (wanted < start + len(batch))] - start
        if len(here):
            found.append(to_numpy(batch.take(here), features))
        start += len(batch)
    return {f.name: np.concatenate([part[f.name] for part in found]) for f in features}


def read_sample(
    examples: Artifact, split: str, columns: Sequence[str], most: int
) -> Iterator[pa.RecordBatch]:
    """At most `most` rows of a split, in its order, for pages that show what the rows are like.

    They lie evenly over row groups that lie evenly over the split, so that of a large one only
    some groups are read: 16, or as many as have `most` rows. A group is held at once.
    """
    groups = [
        (part, place, metadata.row_group(place).num_rows)
        for part in parts(examples, split)
        for metadata in (pq.read_metadata(part),)
        for place in range(metadata.num_row_groups)
    ]
    usual = max(sum(rows for *_, rows in groups) // max(len(groups), 1), 1)
    read = [groups[at] for at in sampling.spread(len(groups), max(SAMPLED_GROUPS, most // usual))]
    wanted, start = sampling.spread(sum(rows for *_, rows in read), most), 0
    for part, place, rows in read:
        here = wanted[(wanted >= start) & (wanted < start + rows)] - start
        start += rows
        if len(here):
            with pq.ParquetFile(part) as file:
                group = file.read_row_group(place, columns=columns)
            yield from group.take(pa.array(here)).to_batches()


def count_rows(files: Sequence[Path]) -> int:
    """Rows of some Parquet files, from their footers."""
    return sum(pq.read_metadata(file).num_rows for file in files)
