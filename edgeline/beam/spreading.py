"""Work on slices of rows, spread over Beam's workers, each slice once.

What a worker makes of a slice is a file of the exchange. So the task sees which slices are done,
whatever the runner says, and has only the others done again when a worker was lost.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from edgeline.beam import runner as runners
from edgeline.beam.exchange import Exchange
from edgeline.beam.runner import Runner
from edgeline.beam.slices import RowSlice, receive
from edgeline.errors import EdgelineError
from edgeline.stores.again import PassingError, again

ATTEMPTS = 3
LOADED = 4  # pieces of work that a worker keeps ready
Rows = Iterator[pa.RecordBatch]


class SliceWork(Protocol):
    """What is done to each slice. It is pickled, so it holds no path and nothing that is open."""

    def load(self, files: Path) -> Callable[[Rows, str], bytes]:
        """Make ready, once a worker.

        Args:
            files: a folder on the worker's disk with the files that the work needs; it is removed
                when this returns.

        Returns:
            a function of a slice's record batches and of a word for where they are from.
        """


def spread(
    work: SliceWork, slices: Sequence[RowSlice], exchange: Exchange, runner: Runner, stage: str
) -> Iterator[bytes]:
    """What the work makes of each slice, in the order of the slices.

    Args:
        work: see `SliceWork`.
        slices: what `edgeline.beam.slices.send` has written.
        exchange: where; the files for the work are in `files/STAGE` (see `give`).
        runner: who does it.
        stage: a name for this work among others on the same slices.

    Raises:
        EdgelineError: of the first slice of which the work raised one; or slices were still
            missing after `ATTEMPTS` jobs.
    """
    if not slices:
        return iter(())
    missing = list(slices)
    lost: EdgelineError | None = None
    for attempt in range(1, ATTEMPTS + 1):
        if attempt > 1:
            told = lost or f"{runner.place} lost some."
            print(
                f"{told} {len(missing)} of {len(slices)} slices are missing: doing them again "
                f"({attempt} of {ATTEMPTS}).",
                file=sys.stderr,
                flush=True,
            )
            if not is_back(runner):
                break
        lost = None
        try:
            _run(work, missing, exchange, runner, stage)
        except EdgelineError as error:
            lost = error
        done = {*exchange.names(f"made/{stage}"), *exchange.names(f"refused/{stage}")}
        missing = [
            each
            for each in missing
            if not done & {_made(stage, each.number), _refused(stage, each.number)}
        ]
        if not missing:
            break
    for name in exchange.names(f"refused/{stage}"):
        raise EdgelineError(exchange.get(name).decode())
    if missing:
        if lost is not None:
            raise lost
        rows = sum(each.rows for each in missing)
        raise EdgelineError(
            f"{runner.place} lost {rows} of {sum(each.rows for each in slices)} rows without an "
            "error: use another runner."
        )
    return (exchange.get(_made(stage, each.number)) for each in slices)


def is_back(runner: Runner) -> bool:
    """Whether a runner answers after a job has failed, or does within some seconds."""
    try:
        again(runner.reach)
    except PassingError:  # what ended the job says more
        return False
    return True


def give(exchange: Exchange, stage: str, files: Path) -> None:
    """Write the files that the work of a stage needs for the workers."""
    exchange.put_folder(_files(stage), files)


def ready(exchange: Exchange, stage: str, load: Callable[[Path], Any]) -> Any:
    """What a stage's files become in this process, loaded once however many threads ask."""
    place = (exchange.folder.uri, stage)
    with _LOCK:
        if place not in _READY:
            with tempfile.TemporaryDirectory(prefix="edgeline-beam-") as folder:
                files = Path(folder)
                exchange.get_folder(_files(stage), files)
                made = load(files)
            while len(_READY) >= LOADED:
                _READY.pop(next(iter(_READY)))
            _READY[place] = made
        return _READY[place]


_READY: dict[tuple[str, str], Any] = {}
_LOCK = threading.Lock()


class _Step:
    """The work on one slice, in a worker."""

    def __init__(self, work: SliceWork, exchange: Exchange, stage: str) -> None:
        self.work, self.exchange, self.stage = work, exchange, stage

    def __call__(self, task: tuple[int, str, str]) -> None:
        number, name, where = task
        try:
            call = ready(self.exchange, self.stage, self.work.load)
            made = call(receive(self.exchange, name), where)
        except PassingError:  # of the store: the slice is done again
            raise
        except EdgelineError as error:  # of the data: another worker would find the same
            self.exchange.put(_refused(self.stage, number), str(error).encode())
            return
        self.exchange.put(_made(self.stage, number), made)


def _run(
    work: SliceWork, slices: Sequence[RowSlice], exchange: Exchange, runner: Runner, stage: str
) -> None:
    import apache_beam as beam

    tasks = [(each.number, each.name, each.where) for each in slices]
    pipeline = runner.pipeline()
    step = _Step(work, exchange, stage)
    pipeline | beam.Create(tasks) | beam.Reshuffle() | stage >> beam.Map(step)
    try:
        runners.run(pipeline)
    except EdgelineError:
        raise
    except Exception as error:  # each runner has its own family
        raise runners.failure(runner, error) from error


def _made(stage: str, number: int) -> str:
    return f"made/{stage}/{number:06d}"


def _refused(stage: str, number: int) -> str:
    return f"refused/{stage}/{number:06d}"


def _files(stage: str) -> str:
    return f"files/{stage}"
