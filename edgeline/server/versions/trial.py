"""Try a model in a process of its own, with limits: what kills that process spares the server.

The limits are the system's: time of a core, time by the clock, memory. A model that takes too
long of a core is at fault wherever it is tried; one that the clock ran out on may have met a busy
machine, and one that was ended from outside may have met one without memory: those are told apart.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.runtimes.interpreter import runtime_version
from edgeline.server.models.edgetpu import HeldError
from edgeline.server.models.loading import TransientError, load, zeros
from edgeline.server.models.model import Instance
from edgeline.server.versions import forkserver
from edgeline.server.versions.forkserver import ChildEnd, ForkServer, allocated
from edgeline.server.versions.verdicts import TrialLimit

MODULE = "edgeline.server.versions.trial"
CLOCK = 3  # times as long by the clock as of a core
FILES = 8  # times the bytes of a model's files that it may take besides: weights are unpacked
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_RUNS = 3
_GRACE = 30.0  # seconds after which a child that outlived its own limits is given up
_LOG = 1 << 20  # bytes that a child may write


@dataclass(frozen=True)
class TrialOrder:
    """What is to be tried.

    Attributes:
        path: a bundle or a `.tflite` file.
        load_time: seconds of a core that all of it may take.
        run_time: seconds that one run on zeros may take once warm; 0 for any.
        memory: bytes that it may take, besides what its files account for.
        digests: sha256 of the files of a bare model, by name (see `loading.load`); None for a
            bundle.
        held: whether this server holds the accelerator.
        kindly: whether others are being served meanwhile.
    """

    path: str
    load_time: float = 120.0
    run_time: float = 0.0
    memory: int = 1 << 30
    digests: Mapping[str, str] | None = None
    held: bool = False
    kindly: bool = False


class LimitError(EdgelineError):
    """A model takes more than it may: `limit` is the setting that says how much."""

    def __init__(self, limit: TrialLimit, message: str) -> None:
        super().__init__(message)
        self.limit: TrialLimit = limit


def run(forks: ForkServer, order: TrialOrder) -> None:
    """Load a model in a child, warm it and check its recorded answers.

    Raises:
        TransientError: it says nothing about the model: the machine was too busy, the child was
            ended from outside, or there is no process to be had.
        LimitError: it takes too much time or memory.
        EdgelineError: the model crashes, or see `loading.load`.
    """
    try:
        seconds = CLOCK * max(1.0, order.load_time) + _GRACE
        ended = forks.run(asdict(order), seconds, _allowed(order))
    except EdgelineError as error:
        raise TransientError(str(error)) from error
    found: Mapping[str, Any] = ended.result
    if fault := found.get("fault"):
        if limit := found.get("limit"):
            raise LimitError(limit, fault)
        raise (TransientError if found["transient"] else EdgelineError)(fault)
    if not found:
        raise _fault(order, ended)


def _fault(order: TrialOrder, ended: ChildEnd) -> EdgelineError:
    """Why a child has not come to an end of its work."""
    path, number = order.path, -(ended.status or 0)
    if ended.over or "bad_alloc" in ended.log:
        return _too_large(order)
    if number == signal.SIGXCPU:
        return LimitError(
            "load_time",
            f"{path} took over {order.load_time:g} s to load and warm: raise --load-time, or "
            "convert it to a smaller model.",
        )
    if ended.status is None:
        return TransientError(f"The trial of {path} broke off, perhaps for want of memory.")
    if number == signal.SIGALRM:
        return TransientError(
            f"{path} was not loaded and warm after {CLOCK * order.load_time:g} s, of which it had "
            f"a core for {ended.seconds:.0f} s: this machine is busy."
        )
    if number in _FROM_OUTSIDE:
        return TransientError(
            f"The trial of {path} was ended by signal {number}, perhaps for want of memory."
        )
    if number > 0:
        return EdgelineError(f"{path} crashes the runtime (signal {number}): convert it again.")
    said = ended.log.strip().splitlines() or [f"exit status {ended.status}"]
    return EdgelineError(f"{path} cannot be loaded ({said[-1][:200]}): convert it again.")


def _too_large(order: TrialOrder) -> LimitError:
    return LimitError(
        "load_memory",
        f"{order.path} takes more than {order.memory:,} bytes of memory and {FILES} times its "
        "files: raise --load-memory, or convert it to a smaller model.",
    )


def work(given: Mapping[str, Any]) -> Mapping[str, object]:
    """Carry out an order, in a child: what was found."""
    order = TrialOrder(**given)
    try:
        _limit(order)
        (instance,) = load(Path(order.path), "trial", 1, 1, 1, order.digests, order.held)
        seconds = _time(instance)
        if order.run_time and seconds > order.run_time:
            raise LimitError(
                "run_time",
                f"{order.path} is too slow: a run takes {seconds:.3g} s, and {order.run_time:g} s "
                "is allowed: raise --run-time, or convert it to a smaller model.",
            )
        return {"seconds": seconds}
    except HeldError:  # the server tries it, as the process that can
        return {"seconds": 0.0}
    except MemoryError:
        return _told(_too_large(order))
    except EdgelineError as error:
        return _told(_too_large(order) if isinstance(error.__cause__, MemoryError) else error)


def _told(error: EdgelineError) -> Mapping[str, object]:
    return {
        "fault": str(error),
        "transient": isinstance(error, TransientError),
        "limit": error.limit if isinstance(error, LimitError) else "",
    }


def _limit(order: TrialOrder) -> None:
    """Limit this process, for good."""
    seconds = max(1, math.ceil(order.load_time))
    if order.kindly:
        os.nice(10)
    with contextlib.suppress(OSError):  # where memory ends, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, _LOG)
    _set(resource.RLIMIT_CPU, seconds)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, CLOCK * seconds)
    # whoever watches ends it before, and can say why; what is too much at once is refused
    most = allocated() + 4 * _allowed(order)
    _set(resource.RLIMIT_DATA, most)
    _set(resource.RLIMIT_AS, most + (2 << 30))  # not all that is mapped is memory


def _allowed(order: TrialOrder) -> int:
    path = Path(order.path)
    try:
        files = path.rglob("*") if path.is_dir() else path.parent.glob(path.stem + "*.tflite")
        size = sum(file.stat().st_size for file in files if file.is_file())
    except OSError:  # which the trial will say
        size = 0
    return order.memory + FILES * size


def _set(limit: int, value: int) -> None:
    hard = resource.getrlimit(limit)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    later = value + 5 if limit == resource.RLIMIT_CPU else value  # SIGKILL, if SIGXCPU was in vain
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(limit, (value, min(later, hard) if hard >= 0 else later))


def _time(instance: Instance) -> float:
    """Seconds of the quickest of some runs: what is measured beside others is theirs, too."""
    arrays, found = zeros(instance.file), []
    for _ in range(_RUNS):
        started = perf_counter()
        instance.infer(arrays)
        found.append(perf_counter() - started)
    return min(found)


def forked() -> ForkServer:
    """A fork server that comes from this process, which must have one thread."""
    runtime_version()  # is read once, not by each child
    return ForkServer.fork(MODULE, work)


if __name__ == "__main__":
    runtime_version()
    forkserver.main(work)
