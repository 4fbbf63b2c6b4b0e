"""A pool of worker threads, each with an interpreter of its own, behind a bounded queue.

A job is a function of an `Instance`: it decodes, infers and encodes in the worker's thread, so
that a large body never holds up the event loop. The interpreter lets go of the global lock while
it computes. `submit` and `close` are called from the event loop only, which makes replacing a
pool atomic: no request can be given to one that is closed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from edgeline.errors import EdgelineError
from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.metrics import ModelMetrics
from edgeline.server.model import Description, Instance

Work = Callable[[Instance], Any]
Done = Callable[[Any], None]
T = TypeVar("T")
log = logging.getLogger("edgeline.server")


@dataclass(slots=True)
class Job:
    """Work that waits or runs. Set `cancelled` when nobody wants the answer any more."""

    work: Work
    done: Done
    arrived: float
    deadline: float
    cancelled: bool = False


class Pool:
    """Workers for one version of a model.

    `done` of a job gets what `work` returned or the `ServingError` that it raised, and is called
    in the worker's thread.
    """

    def __init__(self, instances: list[Instance], metrics: ModelMetrics, limit: int) -> None:
        self.metrics = metrics
        self.description: Description = instances[0].description
        self._limit = limit
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._first, self._borrowed = instances[0], threading.Lock()
        self._threads = [
            threading.Thread(target=self._serve, args=(instance,), daemon=True)
            for instance in instances
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work, done: Done, deadline: float) -> Job:
        """Queue work that has to start before `deadline` (of `time.monotonic`).

        Raises:
            ServingError: the queue is full (429).
        """
        if self._queue.qsize() >= self._limit:
            self.metrics.rejected("queue_full")
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"Model {self.description.name!r} is busy: {self._limit} requests wait already.",
            )
        job = Job(work, done, monotonic(), deadline)
        self._queue.put(job)
        return job

    def borrow(self, work: Callable[[Instance], T]) -> T:
        """Run work in this thread, in an interpreter that is kept from the workers meanwhile.

        Neither queued nor counted.
        """
        with self._borrowed:
            return work(self._first)

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return self._queue.qsize()

    def close(self) -> None:
        """Take no more work; workers end when what is queued is done."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)

    def join(self, timeout: float) -> bool:
        """Wait until the workers have ended; whether they have."""
        end = monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self, instance: Instance) -> None:
        while (job := self._queue.get()) is not None:
            if job.cancelled:
                self.metrics.rejected("cancelled")
                continue
            started = monotonic()
            if started > job.deadline:
                self.metrics.rejected("queue_time")
                job.done(
                    ServingError(
                        Code.UNAVAILABLE,
                        f"Model {self.description.name!r} is overloaded: the request waited "
                        f"{started - job.arrived:.1f} s in its queue.",
                    )
                )
                continue
            try:
                if instance is self._first:
                    with self._borrowed:
                        answer = job.work(instance)
                else:
                    answer = job.work(instance)
            except ServingError as error:
                answer = error
            except EdgelineError as error:
                answer = invalid(str(error))
            except Exception:
                log.exception("Model %r failed on a request.", self.description.name)
                answer = ServingError(
                    Code.INTERNAL, f"Model {self.description.name!r} failed: see the server's log."
                )
            self.metrics.done(started - job.arrived, monotonic() - started, answer)
            job.done(answer)
            del job, answer
