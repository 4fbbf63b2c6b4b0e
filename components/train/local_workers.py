"""Workers of a training as processes of this machine, on its loopback: the same as in a cluster,
for a look at it before there is one. They compute on the processors, which they share.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeline.components.train import workers
from edgeline.components.train.worker import CHILD
from edgeline.components.train.workers import Ended, SharedTraining

LOOK = 0.1  # seconds between two looks
FAREWELL = 10.0  # seconds for the others, when the first is done


def start(work: SharedTraining) -> Ended:
    """Start all workers and wait until none is left.

    Raises:
        EdgelineError: what they are told is too large for a process.
    """
    count = work.how.workers
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    given = {
        **os.environ,
        **workers.environment(work, addresses),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }
    with (
        tempfile.TemporaryDirectory(prefix="edgeline-workers-") as folder,
        _started(given, count, max(1, (cores or 1) // count), Path(folder)) as children,
    ):
        while True:
            codes = [child.process.poll() for child in children]
            if codes[0] == 0:
                _wait(children[1:])
                return Ended(done=True)
            if any(code not in (None, 0) for code in codes):
                return _ended(children, codes)
            time.sleep(LOOK)


class _Child:
    """A worker, what it prints shown with its number before each line."""

    def __init__(self, index: int, given: dict[str, str], threads: int, reason: Path) -> None:
        self.index, self.reason = index, reason
        reason.touch()
        self.process = subprocess.Popen(
            [sys.executable, "-m", workers.MODULE, CHILD, str(threads)],
            env={**given, workers.INDEX: str(index), workers.REASON: str(reason)},
            stdin=subprocess.PIPE,  # which ends with this process, whatever ends it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is this process' to hear, which ends them
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            text = line.decode(errors="replace").rstrip()
            print(f"worker {self.index}: {text}", flush=True)


@contextlib.contextmanager
def _started(
    given: dict[str, str], count: int, threads: int, folder: Path
) -> Iterator[list[_Child]]:
    children: list[_Child] = []
    try:
        for index in range(count):
            children.append(_Child(index, given, threads, folder / str(index)))
        yield children
    finally:
        for child in children:
            child.process.kill()
        for child in children:
            child.process.wait()
            child.reader.join(FAREWELL)


def _wait(children: Sequence[_Child]) -> None:
    end = time.monotonic() + FAREWELL
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, end - time.monotonic()))


def _ended(children: Sequence[_Child], codes: Sequence[int | None]) -> Ended:
    """What is told of workers of which one has failed; what it refused counts more than losses."""
    for child, code in zip(children, codes, strict=True):
        if code == workers.REFUSED:
            return Ended(refused=child.reason.read_text("utf-8", errors="replace"))
    child, code = next((x, y) for x, y in zip(children, codes, strict=True) if y)
    assert code is not None
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with code {code}"
    return Ended(why=f"Worker {child.index} of {len(children)} {how}")


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            free = stack.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            found.append(int(free.getsockname()[1]))
        return found
