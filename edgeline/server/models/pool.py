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
from edgeline.server import threads
from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.metrics import ModelMetrics
from edgeline.server.models.model import Description, Instance

PoolWork = Callable[[Instance], object]
Done = Callable[[Any], None]
T = TypeVar("T")
_INLINE_SIZE = 256 * 1024
log = logging.getLogger("edgeline.server")


@dataclass(slots=True)
class Job:
    """Work that waits or runs."""

    work: PoolWork
    done: Done
    arrived: float
    deadline: float
    size: int = 0
    cancelled: bool = False

    def cancel(self) -> None:
        """Say that nobody wants the answer any more."""
        self.cancelled = True


class Pool:
    """Workers for one version of a model.

    `done` of a job gets what `work` returned or the `ServingError` that it raised, and is called
    in the worker's thread.
    """

    def __init__(
        self, instances: list[Instance], metrics: ModelMetrics, limit: int, inline: float = 0.0
    ) -> None:
        self.metrics = metrics
        self._inline, self._slowest, self._size = inline, float("inf"), 0
        self.description: Description = instances[0].description
        self._limit = limit
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._first, self._borrowed = instances[0], threading.Lock()
        self._threads = [threads.begin(self._serve, instance) for instance in instances]

    def submit(self, work: PoolWork, done: Done, deadline: float, size: int = 0) -> Job:
        """Queue work that has to start before `deadline` (of `time.monotonic`).

        Args:
            size: bytes of the request, by which `inline` knows what takes how long.

        Raises:
            ServingError: the queue is full (429).
        """
        if self._queue.qsize() >= self._limit:
            self.metrics.rejected("queue_full")
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"Model {self.description.name!r} is busy: {self._limit} requests wait already.",
            )
        job = Job(work, done, monotonic(), deadline, size)
        self._queue.put(job)
        return job

    def inline(self, work: PoolWork, size: int) -> object:
        """Do work in this thread and give its answer, or give None where that might take long.

        It may not if no request took long lately, and the last was not smaller than this one.
        What it saves is the way to a thread and back, about as long as a small model runs.
        """
        if self._slowest > self._inline or size > min(self._size, _INLINE_SIZE):
            return None
        if not self._borrowed.acquire(blocking=False):
            return None
        try:
            return self._answer(self._first, work, 0.0, size)
        finally:
            self._borrowed.release()

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
                job.done(ServingError(Code.CANCELLED, "Nobody waits for the answer any more."))
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
            instance.deadline = job.deadline
            waited = started - job.arrived
            if instance is self._first:
                with self._borrowed:
                    answer = self._answer(instance, job.work, waited, job.size)
            else:
                answer = self._answer(instance, job.work, waited, job.size)
            job.done(answer)
            del job, answer
        instance.close()

    def _answer(self, instance: Instance, work: PoolWork, waited: float, size: int) -> object:
        started = monotonic()
        try:
            answer = work(instance)
        except ServingError as error:
            answer = error.with_traceback(None)  # a cycle, which would keep all that was read
        except EdgelineError as error:
            answer = invalid(str(error))
        except Exception:
            log.exception("Model %r failed on a request.", self.description.name)
            answer = ServingError(
                Code.INTERNAL, f"Model {self.description.name!r} failed: see the server's log."
            )
        spent = monotonic() - started
        self.metrics.done(waited, spent, answer)
        self._slowest, self._size = max(spent, 0.9 * min(self._slowest, 1.0)), size
        return answer
