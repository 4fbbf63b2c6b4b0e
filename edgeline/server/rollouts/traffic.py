"""The requests of one model while a rollout is on: which version answers which.

`Traffic` stands where a model's pool stands, for requests that name no version. A request goes to
the candidate by its header, else by its id (`x-request-id`: the same id, the same version), else
by a counter that keeps the declared share exactly. Where a canary fails on a request the stable
version answers it instead, so that a bad candidate costs its clients time, not answers; and the
failure is the candidate's fault only if the stable version has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import zlib
from collections import deque
from collections.abc import Collection, Mapping
from time import monotonic, perf_counter
from typing import Any

from edgeline.monitoring.range_check import NOTHING, Outside
from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.models.model import Arrays, Description, Instance, check
from edgeline.server.models.pool import Done, Job, Pool, PoolWork
from edgeline.server.rollouts.declaration import Rollout, Seen
from edgeline.server.rollouts.shadow import Compared, Shadow

VERSION_HEADER = "x-edgeline-version"
ID_HEADER = "x-request-id"
_RECENT = 512  # runs whose times are kept


class Traffic:
    """A rollout at work. Submit on the event loop; `pools` are the model's, by version."""

    def __init__(
        self, rollout: Rollout, pools: Mapping[int, Pool], stable: int, candidate: int
    ) -> None:
        self.rollout, self.stable, self.candidate = rollout, stable, candidate
        self._pools = pools
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._began = monotonic()
        self._count = 0
        self._requests = self._errors = self._rows = self._disagreements = 0
        self._times: tuple[deque[float], deque[float]] = (
            deque(maxlen=_RECENT),
            deque(maxlen=_RECENT),
        )
        self._shadow = None
        if rollout.mode == "shadow":
            self._shadow = Shadow(
                lambda: pools.get(candidate), rollout.tolerance, rollout.compare, self._compared
            )
        name, _, value = rollout.header.partition(":")
        self._header = (name.strip().lower(), value.strip())

    @property
    def description(self) -> Description:
        """Of the stable version."""
        return self._pools[self.stable].description

    @property
    def dropped(self) -> int:
        """Copies for a shadow that found no place."""
        return self._shadow.dropped if self._shadow else 0

    def seen(self) -> Seen:
        """What the rollout has shown so far."""
        with self._lock:
            stable, candidate = map(_median, self._times)
            return Seen(
                monotonic() - self._began,
                self._requests,
                self._errors,
                self._rows,
                self._disagreements,
                stable,
                candidate,
            )

    def close(self) -> None:
        """Copy no more."""
        if self._shadow is not None:
            self._shadow.close()

    def submit(
        self, work: PoolWork, done: Done, deadline: float, headers: Mapping[Any, Any]
    ) -> Job:
        """As `Pool.submit`, in the version that this request is for.

        Args:
            headers: of HTTP (bytes) or of gRPC (str), names in lower case.

        Raises:
            ServingError: the queue is full, or a header asks for what there is not.
        """
        chosen, shared = self._choose(headers)
        if chosen == self.candidate or (shared and self._shadow is None):
            with contextlib.suppress(ServingError):  # busy: the stable one may have a place
                return self._submit_candidate(work, done, deadline)
        recorder = _Recorder()

        def answered(answer: Any) -> None:
            done(answer)
            if recorder.answers is not None and not isinstance(answer, ServingError):
                self._ran(0, recorder.seconds)
                if shared and self._shadow is not None:
                    self._shadow.give(recorder.arrays, recorder.answers, recorder.description)

        return self._pools[self.stable].submit(recorder.around(work), answered, deadline)

    def _submit_candidate(self, work: PoolWork, done: Done, deadline: float) -> Job:
        recorder = _Recorder()

        def answered(answer: Any) -> None:
            if not isinstance(answer, ServingError):
                self._ran(1, recorder.seconds)
                self._counted(failed=False)
                done(answer)
            elif answer.code in (Code.UNAVAILABLE, Code.CANCELLED, Code.ABORTED):
                # it waited too long, the client is gone, or there is no window: no other try
                done(answer)
            else:
                self._loop.call_soon_threadsafe(again, answer)

        def again(fault: ServingError) -> None:
            def second(answer: Any) -> None:
                if not isinstance(answer, ServingError):
                    self._counted(failed=True)
                done(answer)

            pool = self._pools.get(self.stable)
            try:
                if pool is None:
                    raise fault
                pool.submit(recorder.repeating(work), second, deadline)
            except ServingError:
                done(fault)

        return self._pools[self.candidate].submit(recorder.around(work), answered, deadline)

    def _choose(self, headers: Mapping[object, object]) -> tuple[int, bool]:
        """The version that a header asks for, or 0; and whether the request is of the share."""
        asked = _header(headers, VERSION_HEADER)
        if asked:
            known = {"stable": self.stable, "candidate": self.candidate}
            known |= {str(version): version for version in (self.stable, self.candidate)}
            if asked not in known:
                raise invalid(
                    f"The header {VERSION_HEADER} says {asked[:100]!r}: give stable, candidate, "
                    f"{self.stable} or {self.candidate}."
                )
            return known[asked], False
        if self._header[0] and _header(headers, self._header[0]) == self._header[1]:
            return self.candidate, False
        weight = self.rollout.weight
        if identity := _header(headers, ID_HEADER):
            key = f"{self.candidate}:{identity}".encode()
            return 0, zlib.crc32(key) < weight * 2**32
        self._count += 1
        return 0, int(self._count * weight) > int((self._count - 1) * weight)

    def _counted(self, failed: bool) -> None:
        with self._lock:
            self._requests += 1
            self._errors += failed

    def _ran(self, which: int, seconds: float) -> None:
        with self._lock:
            self._times[which].append(seconds)

    def _compared(self, outcome: Compared | ServingError) -> None:
        self._counted(failed=isinstance(outcome, ServingError))
        if isinstance(outcome, Compared):
            self._ran(1, outcome.seconds)
            with self._lock:
                self._rows += outcome.rows
                self._disagreements += outcome.differ


class _Recorder:
    """Stands before an instance for one request, and keeps what went in and came out."""

    __slots__ = (
        *("answers", "arrays", "description", "instance", "outside", "prepared"),
        *("refused", "seconds"),
    )

    def __init__(self) -> None:
        self.prepared: Arrays | None = None
        self.refused: dict[int, str] = {}
        self.outside = NOTHING
        self.answers: Arrays | None = None
        self.seconds = 0.0

    def around(self, work: PoolWork) -> PoolWork:
        def recorded(instance: Instance) -> object:
            self.instance, self.description = instance, instance.description
            return work(self)  # type: ignore[arg-type]  # all that work takes of an instance

        return recorded

    def repeating(self, work: PoolWork) -> PoolWork:
        """The same work again, of rows that were kept already."""
        return lambda instance: work(_Again(instance, self))  # type: ignore[arg-type]

    def ask(self, arrays: Arrays) -> Arrays:
        self.prepared = self.instance.prepare(arrays)
        self.outside = self.instance.outside
        return self.run(self.prepared)

    def ask_each(self, arrays: Arrays) -> tuple[Arrays, Arrays, dict[int, str]]:
        self.prepared, self.refused = self.instance.prepare_each(arrays)
        self.outside = self.instance.outside
        return self.run(self.prepared), self.prepared, self.refused

    def run(self, arrays: Arrays) -> Arrays:
        began = perf_counter()
        answers = self.instance.run(arrays)
        self.seconds = perf_counter() - began
        self.arrays, self.answers = arrays, answers
        return answers


class _Again:
    """Stands before another version's instance for a request that a version could not answer.

    A row is in the windows once: what was made of it is what is asked again.
    """

    __slots__ = ("_first", "_instance", "description")

    def __init__(self, instance: Instance, first: _Recorder) -> None:
        self._instance, self._first = instance, first
        self.description = instance.description

    @property
    def outside(self) -> Outside:
        kept = self._first.prepared is not None and self._instance.windows is not None
        return self._first.outside if kept else self._instance.outside

    def ask(self, arrays: Arrays) -> Arrays:
        made = self._first.prepared
        if made is None or self._instance.windows is None:
            return self._instance.ask(arrays)
        return self._instance.run(check(made, self.description))

    def ask_each(self, arrays: Arrays) -> tuple[Arrays, Arrays, dict[int, str]]:
        made = self._first.prepared
        if made is None or self._instance.windows is None:
            return self._instance.ask_each(arrays)
        fit = check(made, self.description)
        return self._instance.run(fit), fit, self._first.refused


def _median(times: Collection[float]) -> float:
    return sorted(times)[len(times) // 2] if times else 0.0


def _header(headers: Mapping[object, object], name: str) -> str:
    value = headers.get(name)
    if value is None:
        value = headers.get(name.encode(), b"")
    return str(value, "latin-1") if isinstance(value, bytes) else str(value)
