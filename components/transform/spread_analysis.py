"""The passes of an analysis over the rows, made by Beam's workers on a slice each.

A worker gets a phase's trace as a SavedModel, and tf.Transform's combiners; what these hold after a
slice comes back and is merged in the order of the slices, so the result does not depend on who was
first. The user's module stays with the task.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeline.artifacts import features as raw
from edgeline.artifacts.features import Feature
from edgeline.beam import spreading
from edgeline.beam.slices import RowSlice
from edgeline.beam.workers import Workers
from edgeline.components.transform import phases
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array


@dataclass(frozen=True)
class Gathering:
    """See `SliceWork` of `spreading`: a slice to what each step of a phase gathers of it."""

    steps: Mapping[str, phases.Accumulating]
    features: tuple[Feature, ...]

    def load(self, files: Path) -> Callable[[spreading.Rows, str], bytes]:
        call = phases.load_call(files)

        def gather(rows: spreading.Rows, _where: str) -> bytes:
            counted = 0

            def arrays() -> Iterator[dict[str, Array]]:
                nonlocal counted
                for batch in rows:
                    counted += batch.num_rows
                    yield raw.to_numpy(batch, self.features)

            gathered = phases.accumulate(self.steps, call, self.features, arrays())
            return pickle.dumps((counted, gathered))

        return gather


def gatherer(
    workers: Workers, parts: Collection[Path], features: Sequence[Feature]
) -> Callable[[phases.Phase], phases.Gathered]:
    """A function that makes a phase's pass over the slices of some parts, for `here.analyze`."""
    passes = 0

    def gather(phase: phases.Phase) -> phases.Gathered:
        nonlocal passes
        passes += 1
        stage = f"phase-{passes}"
        slices = [each for each in workers.slices if each.part in parts]
        with tempfile.TemporaryDirectory(prefix="edgeline-") as folder:
            phase.save(Path(folder))
            spreading.give(workers.exchange, stage, Path(folder))
        work = Gathering(phase.steps, tuple(features))
        made = spreading.spread(work, slices, workers.exchange, workers.runner, stage)
        return phases.merged(phase.steps, _counted(made, slices))

    return gather


def _counted(made: Iterator[bytes], slices: Sequence[RowSlice]) -> Iterator[phases.Gathered]:
    """What was gathered of each slice, if it was of all its rows."""
    for packed, each in zip(made, slices, strict=True):
        rows, gathered = pickle.loads(packed)  # of a sealed file, see `edgeline.beam.exchange`
        if rows != each.rows:
            raise EdgelineError(
                f"{rows} of the {each.rows} rows of {each.where} were analysed: run again, and "
                "report it if it stays so."
            )
        yield gathered
