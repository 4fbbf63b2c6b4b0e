"""A candidate that runs on copies of the requests: its answers are compared, never sent.

One thread of low priority takes copies from a short queue. What does not fit there is dropped
and counted, so that a slow candidate costs the stable version neither time nor memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, Full, Queue
from time import perf_counter

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.decision_threshold import says_yes
from edgeline.artifacts.differences import difference
from edgeline.server.errors import ServingError
from edgeline.server.models.model import Arrays, Description, Instance, check, decided_output
from edgeline.server.models.pool import Pool

log = logging.getLogger("edgeline.server")
_QUEUE = 8  # copies that wait
_BYTES = 64 << 20  # the largest of them together
_NICENESS = 10
_Copy = tuple[Arrays, Arrays, Description]


@dataclass(frozen=True)
class Compared:
    """One copy that was run: `rows`, how many of them `differ`, and the seconds of the run."""

    rows: int
    differ: int
    seconds: float


class Shadow:
    """The thread of one candidate. `done` is called in it with what came of each copy."""

    def __init__(
        self,
        candidate: Callable[[], Pool | None],
        tolerance: float,
        compare: str,
        done: Callable[[Compared | ServingError], None],
    ) -> None:
        self.dropped = 0
        self._candidate, self._done = candidate, done
        self._tolerance, self._compare = tolerance, compare
        self._queue: Queue[_Copy | None] = Queue(_QUEUE)
        self._held = 0
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._serve, name="shadow", daemon=True).start()

    def give(self, arrays: Arrays, answers: Arrays, description: Description) -> None:
        """Queue a request's input and the stable version's answer, or drop them. Never waits."""
        size = sum(array.nbytes for array in arrays.values())
        with self._lock:
            fits = self._held + size <= _BYTES
            if fits:
                self._held += size
        try:
            if not fits:
                raise Full
            self._queue.put_nowait((arrays, answers, description))
        except Full:
            with self._lock:
                self._held -= size if fits else 0
                self.dropped += 1

    def close(self) -> None:
        """Run no more; what waits is forgotten."""
        self._closed = True
        with contextlib.suppress(Empty):
            while True:
                self._queue.get_nowait()
        with contextlib.suppress(Full):  # if it is full again, the thread wakes up all the same
            self._queue.put_nowait(None)

    def _serve(self) -> None:
        if hasattr(os, "setpriority"):  # of this thread alone, on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (copy := self._queue.get()) is not None and not self._closed:
            with self._lock:
                self._held -= sum(array.nbytes for array in copy[0].values())
            pool = self._candidate()
            if pool is None:
                return
            try:
                outcome: Compared | ServingError = pool.borrow(partial(self._run, copy))
            except ServingError as error:
                outcome = error
            except Exception:
                log.exception("The shadow of %r failed.", copy[2].name)
                continue
            if not self._closed:
                self._done(outcome)

    def _run(self, copy: _Copy, instance: Instance) -> Compared:
        arrays, answers, description = copy
        checked = check(arrays, instance.description)
        began = perf_counter()
        got = instance.predict(checked)  # no observer is told: it is not traffic
        seconds = perf_counter() - began
        expected = description.signature.outputs
        rows = max(1, max((len(a) for a in answers.values() if a.ndim), default=1))
        differ = differing(
            (answers, expected),
            (got, instance.description.signature.outputs),
            rows,
            self._tolerance,
            self._compare,
            (description.decision_threshold, instance.description.decision_threshold),
        )
        return Compared(rows, differ, seconds)


def differing(
    stable: tuple[Arrays, tuple[Tensor, ...]],
    candidate: tuple[Arrays, tuple[Tensor, ...]],
    rows: int,
    tolerance: float,
    compare: str,
    thresholds: tuple[float | None, float | None] = (None, None),
) -> int:
    """How many rows of two answers differ in any output of the stable one.

    Quantised values are compared as real ones: two versions may have different scales.

    Args:
        stable, candidate: the answers with their tensors' descriptions.
        rows: the rows of the answers.
        tolerance: the largest difference that agrees (see `edgeline.artifacts.differences`).
        compare: `values`, or `class` for the place of a row's highest value where it has several,
            and for the decision of a binary model where either bundle has a threshold.
        thresholds: above which score each of the two says yes; None: 0.5.
    """
    wrong = np.zeros(rows, bool)
    others = {tensor.name: tensor for tensor in candidate[1]}
    for tensor in stable[1]:
        a, b = stable[0].get(tensor.name), candidate[0].get(tensor.name)
        if a is None:
            continue
        if b is None or a.shape != b.shape or (a.dtype == object) != (b.dtype == object):
            return rows
        if a.dtype.kind in "OSU":
            same = a == b
        else:
            real = _real(a, tensor), _real(b, others[tensor.name])
            decides = tensor.name == decided_output(stable[1])
            if compare == "class" and decides and thresholds != (None, None):
                yes = [says_yes(x, t) for x, t in zip(real, thresholds, strict=True)]
                same = np.asarray(yes[0] == yes[1])
            else:
                same = _agree(*real, tolerance, compare)
        if same.ndim and len(same) == rows:
            wrong |= ~same.reshape(rows, -1).all(axis=1)
        elif not same.all():
            return rows
    return int(wrong.sum())


def _agree(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], tolerance: float, compare: str
) -> npt.NDArray[np.bool_]:
    if compare == "class" and a.ndim > 1 and a.shape[-1] > 1:
        return np.asarray(a.argmax(axis=-1) == b.argmax(axis=-1))
    return np.asarray(difference(b, a) <= tolerance)


def _real(array: npt.NDArray[np.generic], tensor: Tensor) -> npt.NDArray[np.float64]:
    values = array.astype(np.float64)
    if tensor.scale is None:
        return values
    return np.asarray(tensor.scale * (values - (tensor.zero_point or 0)))
