"""Beam's workers with the rows that they work on."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeline.artifacts import batches
from edgeline.beam import exchange as exchanges
from edgeline.beam import runner as runners
from edgeline.beam import slices
from edgeline.beam.exchange import Exchange
from edgeline.beam.runner import Runner
from edgeline.beam.slices import RowSlice


@dataclass(frozen=True)
class Workers:
    """A runner, a folder that its workers reach, and the Parquet files that they work on.

    columns: those of the files that the work needs; None: all.
    batch_rows: the most rows of a batch.
    """

    runner: Runner
    exchange: Exchange
    parts: tuple[Path, ...] = ()
    columns: tuple[str, ...] | None = None
    batch_rows: int = batches.BATCH_ROWS

    def on(
        self,
        parts: Sequence[Path],
        columns: Sequence[str] | None = None,
        batch_rows: int = batches.BATCH_ROWS,
    ) -> Workers:
        """The same workers, for some files."""
        named = None if columns is None else tuple(columns)
        return Workers(self.runner, self.exchange, tuple(parts), named, batch_rows)

    @functools.cached_property
    def slices(self) -> list[RowSlice]:
        """The slices of the files in their order, sent when they are first asked for."""
        return slices.send(self.parts, self.exchange, self.columns, self.batch_rows)


@contextlib.contextmanager
def hired(
    beam_options: Sequence[str], artifact_uri: str, component: str
) -> Iterator[Workers | None]:
    """Workers of the runner that options name; None without options.

    Args:
        beam_options: see `edgeline.beam.runner.read`.
        artifact_uri: the address of one of the task's outputs, see `edgeline.beam.exchange.opened`.
        component: the component's name.

    Raises:
        EdgelineError: Beam does not take the options, the runner cannot be reached, or nothing can
            be written where its workers read.
    """
    if not beam_options:
        yield None
        return
    runner = runners.read(beam_options)
    runner.reach()
    with (
        _stopping_in_order(),
        exchanges.opened(runner, artifact_uri, component) as exchange,
    ):
        yield Workers(runner, exchange)


@contextlib.contextmanager
def _stopping_in_order() -> Iterator[None]:
    """Take SIGTERM, by which a cluster stops a task, for an exit.

    So the job is cancelled, and what was shared removed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
