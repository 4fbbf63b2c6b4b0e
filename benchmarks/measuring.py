"""What a command costs with every process it starts, and with the warm processes that it uses: wall
time, processor time, memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from edgeline.local.warm import sets

INTERVAL = 0.5  # seconds between two looks; what a process does after the last is not seen


@dataclass(frozen=True)
class Cost:
    """Of one command: `wall` and `cpu` in seconds, `memory` in bytes, the `load` it began in.

    `memory` is the peak of the proportional set sizes of all its processes together: a page
    that several share counts once. `load` is the machine's load average of a minute.
    """

    wall: float
    cpu: float
    memory: int
    load: float


def measure(command: Sequence[str | Path], folder: Path, log: Path) -> Cost:
    """Run a command to its end; what it prints goes to a log.

    Args:
        command: program and arguments.
        folder: its working directory.
        log: a file to write.

    Raises:
        SystemExit: it failed; its last lines are shown.
    """
    load = os.getloadavg()[0]
    seconds: dict[psutil.Process, float] = {}
    _look(seconds)
    before = sum(seconds.values())  # of warm processes that are there
    memory = 0
    started = time.monotonic()
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            list(map(str, command)), cwd=folder, stdout=stream, stderr=subprocess.STDOUT
        )
        seconds[psutil.Process(process.pid)] = 0.0
        while True:
            _look(seconds)
            memory = max(memory, sum(map(_proportional_size, seconds)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(INTERVAL)
                break
    wall = time.monotonic() - started
    if code:
        _fail(command, code, log)
    return Cost(wall, sum(seconds.values()) - before, memory, load)


def timed(command: Sequence[str | Path], folder: Path, log: Path) -> float:
    """Run a command as `measure` does, without looking at it, which takes a third of a core.

    Returns:
        Seconds. A run's own record has the processor seconds of its tasks.

    Raises:
        SystemExit: it failed; its last lines are shown.
    """
    started = time.monotonic()
    with open(log, "wb") as stream:
        code = subprocess.run(
            list(map(str, command)), cwd=folder, stdout=stream, stderr=subprocess.STDOUT
        ).returncode
    wall = time.monotonic() - started
    if code:
        _fail(command, code, log)
    return wall


def _fail(command: Sequence[str | Path], code: int, log: Path) -> NoReturn:
    last = log.read_text(errors="replace").splitlines()[-15:]
    sys.exit("\n".join([*last, f"{command[0]} failed with code {code}; see {log}"]))


def _look(seconds: dict[psutil.Process, float]) -> None:
    """Find new processes below the known ones, and read every one's own processor time.

    A process is known for good: one that outlives its parent is still read. Warm processes are no
    command's children.
    """
    known = {process.pid for process in seconds}
    for each in sets.kept():
        for number in set(each.processes) - known:
            with contextlib.suppress(psutil.Error):
                seconds[psutil.Process(number)] = 0.0
                known.add(number)
    for process in psutil.process_iter():  # parents come before their children
        with contextlib.suppress(psutil.Error):
            if process.pid not in known and process.ppid() in known:
                known.add(process.pid)
                seconds[process] = 0.0
    for process in seconds:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            seconds[process] = times.user + times.system


def _proportional_size(process: psutil.Process) -> int:
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has ended
        pass
    return 0
