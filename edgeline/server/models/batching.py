"""Dynamic batching: requests that come at the same time run as one batch.

Worker threads decode, check and encode as ever, one request each; only the run itself is shared.
So there are more workers than interpreters, and a request that is refused never gets as far as
its neighbours. If a batch fails all the same, each of its requests is run again alone.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from time import monotonic

import numpy as np

from edgeline.formats.dtypes import Array
from edgeline.server import threads
from edgeline.server.errors import ServingError
from edgeline.server.models.model import Arrays, Instance

log = logging.getLogger("edgeline.server")
_WORKERS = 64  # threads a model, at most


def batched(instances: list[Instance], rows: int, delay: float) -> list[Instance]:
    """What a pool's workers use instead of the interpreters, so that their requests are batched.

    A model whose batch is fixed at 1 row, or whose inputs or outputs have none, is left as it is.

    Args:
        rows: the most in a batch; at most 1 for no batching.
        delay: seconds that the first request of a batch waits for others.
    """
    if rows <= 1:
        return instances
    description = instances[0].description
    tensors = (*description.signature.inputs, *description.signature.outputs)
    if any(not tensor.shape or tensor.shape[0] == 1 for tensor in tensors):
        log.warning("Model %r has a fixed batch and is not batched.", description.name)
        return instances
    batcher = _Batcher(instances, rows, delay)
    workers = min(_WORKERS, 2 * rows * len(instances))
    return [_Batched(batcher, instances[0]) for _ in range(workers)]


class _Request:
    """One request's input, then its answer or what went wrong."""

    __slots__ = ("answer", "arrays", "done", "key", "rows", "until")

    def __init__(self, arrays: Mapping[str, Array], until: float) -> None:
        self.arrays, self.until = arrays, until
        self.rows = len(next(iter(arrays.values())))
        self.key = [(name, array.shape[1:]) for name, array in arrays.items()]
        self.answer: Arrays | Exception | None = None
        self.done = threading.Event()


class _Batched(Instance):
    """An instance's place for one worker; the batcher runs what it is given."""

    def __init__(self, batcher: _Batcher, instance: Instance) -> None:
        self.description, self.observers = instance.description, instance.observers
        self.windows, self.ranges = instance.windows, instance.ranges
        self._batcher = batcher

    def predict(self, arrays: Mapping[str, Array]) -> Arrays:
        return self._batcher.predict(arrays, self.deadline)

    def close(self) -> None:
        self._batcher.close()


class _Batcher:
    """A thread for each interpreter, which takes what waits as one batch."""

    def __init__(self, instances: list[Instance], rows: int, delay: float) -> None:
        self._rows, self._delay = rows, delay
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        for instance in instances:
            threads.begin(self._serve, instance)

    def predict(self, arrays: Mapping[str, Array], deadline: float) -> Arrays:
        """Run a request's input as part of a batch; waits for the answer.

        Raises:
            ServingError: the runtime refuses the input.
        """
        request = _Request(arrays, min(deadline, monotonic() + self._delay))
        with self._changed:
            self._waiting.append(request)
            self._changed.notify_all()
        request.done.wait()
        if request.answer is None or isinstance(request.answer, Exception):
            raise request.answer or RuntimeError("a batch was not run")
        return request.answer

    def close(self) -> None:
        """End when nothing waits. A worker that is still there is answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _serve(self, instance: Instance) -> None:
        while batch := self._take():
            try:
                _run(instance, batch)
            except Exception as error:
                for request in batch:
                    request.answer = request.answer or error
            for request in batch:
                request.done.set()

    def _take(self) -> list[_Request]:
        """The next batch, as soon as it is full or its first request has waited enough."""
        with self._changed:
            while True:
                if not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                    continue
                first = self._waiting[0]
                batch: list[_Request] = []
                rows = 0
                for request in self._waiting:
                    if request.key == first.key and (
                        not batch or rows + request.rows <= self._rows
                    ):
                        batch.append(request)
                        rows += request.rows
                left = min(request.until for request in batch) - monotonic()
                if rows >= self._rows or left <= 0 or self._closed:
                    taken = set(map(id, batch))
                    self._waiting = deque(r for r in self._waiting if id(r) not in taken)
                    return batch
                self._changed.wait(left)


def _run(instance: Instance, batch: list[_Request]) -> None:
    if len(batch) > 1:
        try:
            if _run_together(instance, batch):
                return
        except ServingError:
            pass  # one of them may be at fault: the others are not to suffer
    for request in batch:
        try:
            request.answer = instance.predict(request.arrays)
        except ServingError as error:
            request.answer = error


def _run_together(instance: Instance, batch: list[_Request]) -> bool:
    """Run requests as one; whether the answer could be divided among them."""
    names = batch[0].arrays
    joined = {name: np.concatenate([r.arrays[name] for r in batch]) for name in names}
    answers = instance.predict(joined)
    rows = sum(request.rows for request in batch)
    if any(array.ndim == 0 or len(array) != rows for array in answers.values()):
        return False
    start = 0
    for request in batch:
        end = start + request.rows
        request.answer = {name: array[start:end] for name, array in answers.items()}
        start = end
    return True
