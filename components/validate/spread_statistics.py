"""The passes of statistics over the rows, made by Beam's workers on a slice each.

What they count is merged in the order of the slices, so who was first does not matter.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeline.artifacts import Artifact, examples
from edgeline.beam import spreading
from edgeline.beam.workers import Workers
from edgeline.components.validate.computing import (
    BLOCK_ROWS,
    ColumnCounts,
    Passes,
    SplitCounts,
    regrouped,
)
from edgeline.errors import EdgelineError


@dataclass(frozen=True)
class Counting:
    """See `SliceWork` of `spreading`: the first pass over a slice. `empty` has counted none."""

    empty: SplitCounts

    def load(self, _files: Path) -> Callable[[spreading.Rows, str], bytes]:
        def count(rows: spreading.Rows, _where: str) -> bytes:
            counts = copy.deepcopy(self.empty)
            for block in regrouped(rows):
                counts.count(block)
            return pickle.dumps(counts)

        return count


@dataclass(frozen=True)
class Filling:
    """The second pass over a slice, of numbers whose range is known."""

    columns: tuple[ColumnCounts, ...]

    def load(self, _files: Path) -> Callable[[spreading.Rows, str], bytes]:
        def fill(rows: spreading.Rows, _where: str) -> bytes:
            columns = copy.deepcopy(self.columns)
            for block in regrouped(rows):
                for column in columns:
                    column.fill(block.column(column.name).combine_chunks())
            return pickle.dumps([column.buckets for column in columns])

        return fill


@dataclass(frozen=True)
class _Spread(Passes):
    """Both passes, by workers."""

    workers: Workers
    split: str

    def count(self, counts: SplitCounts) -> None:
        made = self._made(Counting(copy.deepcopy(counts)), "count")
        for counted, each in zip(made, self.workers.slices, strict=True):
            if counted.rows != each.rows:
                raise EdgelineError(
                    f"{counted.rows} of the {each.rows} rows of {each.where} were counted: run "
                    "again, and report it if it stays so."
                )
            counts.merge(counted)

    def fill(self, columns: Sequence[ColumnCounts]) -> None:
        # what the first pass has gathered is not needed but for the range
        slim = [
            replace(ColumnCounts(each.name, each.type), moments=each.moments) for each in columns
        ]
        for filled in self._made(Filling(tuple(slim)), "fill"):
            for column, buckets in zip(columns, filled, strict=True):
                column.buckets += buckets

    def _made(self, work: spreading.SliceWork, name: str) -> Iterator[Any]:
        stage = f"{name}-{self.split}"
        with tempfile.TemporaryDirectory(prefix="edgeline-") as nothing:
            spreading.give(self.workers.exchange, stage, Path(nothing))
        made = spreading.spread(
            work, self.workers.slices, self.workers.exchange, self.workers.runner, stage
        )
        return map(pickle.loads, made)  # of sealed files, see `edgeline.beam.exchange`


def passes_of(data: Artifact, workers: Workers) -> Callable[[str], Passes]:
    """A function that gives the passes over a split.

    Against those of one process means and deviations may differ in their last digit, and
    quantiles of more values than are kept within their stated error.
    """

    def passes(split: str) -> Passes:
        hired = workers.on(examples.parts(data, split), batch_rows=BLOCK_ROWS)
        return _Spread(lambda _: iter(()), hired, split)

    return passes
