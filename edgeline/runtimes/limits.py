"""End a process that computes for too long, wherever in native code it is.

The limit is seconds of a core, so that a verdict is the same on a busy machine; one by the clock,
several times as long, is for what waits without computing. Both are the kernel's timers.
"""

from __future__ import annotations

import contextlib
import resource
import signal

CLOCK = 3  # times as long by the clock as of a core


def begin(seconds: float, clock: float = CLOCK) -> None:
    """End this process after `seconds` of a core, all threads together, or `clock` times as many
    by the clock, from now on; an earlier limit no longer counts."""
    for number, timer, limit in (
        (signal.SIGPROF, signal.ITIMER_PROF, seconds),
        (signal.SIGALRM, signal.ITIMER_REAL, clock * seconds),
    ):
        signal.signal(number, signal.SIG_DFL)
        signal.setitimer(timer, limit)


def end() -> None:
    """Take the limits away."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def memory(most: int) -> None:
    """Let this process, and each that it starts, take `most` bytes beyond what it has, for good.

    What is allocated counts, and so do private mappings; what is too much at once is refused.
    """
    with contextlib.suppress(OSError, ValueError):  # no such limit here, or a lower one
        with open("/proc/self/statm") as stream:
            data = int(stream.read().split()[5]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        value = data + most if hard == resource.RLIM_INFINITY else min(data + most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (value, hard))


def exceeded(code: int | None, seconds: float, clock: float = CLOCK) -> str:
    """Which limit ended a process with this exit code, as "20 s of a core"; "" where none did."""
    if code == -signal.SIGPROF:
        return f"{seconds:g} s of a core"
    return f"{clock * seconds:g} s" if code == -signal.SIGALRM else ""
