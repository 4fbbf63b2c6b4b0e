"""End a process that computes for too long or takes too much memory, wherever in native code it is.

The limit of time is seconds of a core, so that a verdict is the same on a busy machine; one by the
clock, several times as long, is for what waits without computing. Both are the kernel's timers.
The limit of memory grows with the model's files, since a large model is no attack. Two variables
take the place of both: `EDGELINE_MODEL_MEMORY` and `EDGELINE_MODEL_TIME`.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
from pathlib import Path

from edgeline.errors import UsageError

CLOCK = 3  # times as long by the clock as of a core
MEMORY_VARIABLE, TIME_VARIABLE = "EDGELINE_MODEL_MEMORY", "EDGELINE_MODEL_TIME"
MODEL_TIME = 900.0  # seconds of a core that a step of reading a model of others may take
RUNTIME, RUNTIME_FILES = 1 << 30, 8  # bytes, and times the files: weights are unpacked
# of TensorFlow 2.20 on networks of 121 and 484 MB: importing took 0.4 GB and 7 times the file, and
# converting to int8 22 times; what an image is between two layers comes on top
CONVERTER, CONVERTER_FILES = 8 << 30, 32
ARROW = 2 << 30  # bytes: its allocator reserves 1 GiB at a time, used or not, and that counts
A_CORE = 128 << 20  # bytes for each core: the stacks and pools of the threads that use it
_MAPPED = 4 << 30  # bytes that a library maps and does not use; and for each core an allocator's
_NO_MEMORY = (
    *("MemoryError", "bad_alloc", "Cannot allocate memory", "OOM when allocating"),
    *("out of memory", "Failed to allocate memory"),
)
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri")  # their drivers map addresses without end


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
    """Take the limits of time away."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def memory(most: int) -> None:
    """Let this process, and each that it starts, take `most` bytes beyond what it has, for good.

    What is allocated counts, and so does what is mapped; what is too much at once is refused.
    """
    mapped = _MAPPED + (os.cpu_count() or 1) * 8 * A_CORE
    with contextlib.suppress(OSError, ValueError):  # no such limit here
        size, _, _, _, _, data, _ = (
            int(count) * resource.getpagesize()
            for count in Path("/proc/self/statm").read_text().split()
        )
        _lower(resource.RLIMIT_DATA, data + most)
        if not any(map(os.path.exists, _DEVICES)):
            _lower(resource.RLIMIT_AS, size + most + mapped)


def memory_of(process: int, most: int) -> None:
    """Let another process, which was just started, take at most `most` bytes."""
    with contextlib.suppress(OSError, ValueError):
        hard = resource.prlimit(process, resource.RLIMIT_DATA)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(process, resource.RLIMIT_DATA, (value, hard))


def lacked_memory(said: str) -> bool:
    """Whether what a process said in the end is that it was refused memory."""
    return any(word in said for word in _NO_MEMORY)


def too_much(most: int) -> str:
    """A phrase: a process took more memory than it may, and what allows more."""
    return f"exceeded {most:,} bytes of memory ({MEMORY_VARIABLE} allows more)"


def model_time() -> float:
    """Seconds of a core that a step of reading a model of others may take.

    Raises:
        UsageError: the variable says something else.
    """
    text = os.environ.get(TIME_VARIABLE, "")
    if text and not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise UsageError(f"{TIME_VARIABLE} is {text!r}: give whole seconds, such as 3600.")
    return float(text or MODEL_TIME)


def room(*paths: Path | None) -> int:
    """Bytes that a child may take which runs the model that these files and folders are.

    Raises:
        UsageError: the variable says something else.
    """
    return _raised() or RUNTIME + _cores() + RUNTIME_FILES * size(*paths)


def converter_room(*paths: Path | None) -> int:
    """Bytes that a child may take which reads a model with TensorFlow or a compiler.

    Raises:
        UsageError: the variable says something else.
    """
    return _raised() or CONVERTER + _cores() + CONVERTER_FILES * size(*paths)


def size(*paths: Path | None) -> int:
    """Bytes of files, and of all in folders; 0 for what is not there."""
    found = [path for path in paths if path is not None]
    files = [each for path in found for each in ([*path.rglob("*")] if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file())


def exceeded(code: int | None, seconds: float, clock: float = CLOCK) -> str:
    """Which limit ended a process with this exit code, as "20 s of a core"; "" where none did."""
    if code == -signal.SIGPROF:
        return f"{seconds:g} s of a core"
    return f"{clock * seconds:g} s" if code == -signal.SIGALRM else ""


def _cores() -> int:
    return (os.cpu_count() or 1) * A_CORE


def _raised() -> int:
    """What the variable says, in bytes; 0 where it says nothing."""
    if not (text := os.environ.get(MEMORY_VARIABLE, "")):
        return 0
    match = re.fullmatch(r"([1-9][0-9]{0,14}) ?([kmgt]?)(i?)b?", text.lower())
    if not match or (match[3] and not match[2]):
        raise UsageError(f"{MEMORY_VARIABLE} is {text!r}: give bytes, such as 24Gi.")
    return int(match[1]) * int((1024 if match[3] else 1000) ** _UNITS[match[2]])


def _lower(limit: int, value: int) -> None:
    soft, hard = resource.getrlimit(limit)
    known = [each for each in (soft, hard, value) if each != resource.RLIM_INFINITY]
    resource.setrlimit(limit, (min(known), hard))
