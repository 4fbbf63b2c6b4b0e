"""By what a task's process was ended, as far as its exit code and the kernel's counters tell."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

SHELL = 128  # a shell whose command was ended by a signal ends with this and the signal's number
FATAL = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV", "SIGSYS", "SIGTERM")
GROUPS = Path("/proc/self/cgroup")
CONTROLLERS = Path("/sys/fs/cgroup")
_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def sentence(code: int, out_of_memory: bool) -> str:
    """By which signal a process was ended, for people; "" where it has ended by itself.

    Args:
        code: its exit code; negative: the signal.
        out_of_memory: whether the kernel ended a process for lack of memory meanwhile.
    """
    number = -code if code < 0 else code - SHELL
    try:
        name = signal.Signals(number).name
    except ValueError:
        return ""
    if code > 0 and name not in FATAL:  # a program's own code, or Ctrl-C, which it has heard
        return ""
    if name == "SIGKILL" and out_of_memory:
        return (
            "its process was ended by SIGKILL, as memory ran out: give it more, or less to do at "
            "a time"
        )
    return f"its process was ended by {name}"


def memory_kills() -> int:
    """How many processes the kernel has ended for lack of memory in the control group of this one,
    to which its tasks belong; 0 where it does not tell.

    The files are those of the kernel's cgroup-v1/memory.rst (memory.oom_control) and cgroup-v2.rst
    (memory.events).
    """
    found = 0
    for file in _counters():
        with contextlib.suppress(OSError):
            if match := _KILLS.search(file.read_text()):
                found = max(found, int(match[1]))
    return found


def _counters() -> Iterator[Path]:
    """Files that may have the counter; inside a container a group's path may be its host's."""
    try:
        lines = GROUPS.read_text().splitlines()
    except OSError:  # another system
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root = CONTROLLERS / "memory" if kinds else CONTROLLERS
        name = "memory.oom_control" if kinds else "memory.events"
        for place in (root / path.lstrip("/"), root):
            yield place / name
