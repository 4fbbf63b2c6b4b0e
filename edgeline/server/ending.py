"""SIGTERM and SIGINT end the process, whatever hangs.

The loop is asked to stop. Where it does not, since native code holds the thread that it runs in,
Python runs no handler either; but the system still writes the signal to a descriptor, which a
thread here reads, and which then gives the loop some time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

from edgeline.server import threads

SIGNALS = (signal.SIGTERM, signal.SIGINT)
log = logging.getLogger("edgeline.server")


@contextlib.contextmanager
def on_signal(stop: Callable[[], None], seconds: float) -> Iterator[None]:
    """Within the block a signal calls `stop` on the loop, and ends the process after `seconds`.

    The time runs on after the block, until the process has ended by itself.
    """
    loop = asyncio.get_running_loop()
    try:
        for number in SIGNALS:
            loop.add_signal_handler(number, stop)
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    except (ValueError, RuntimeError):  # not in the main thread: whoever has that decides
        yield
        return
    threads.begin(_watch, ours, before, seconds)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        theirs.close()  # at which the thread ends


def _watch(signals: socket.socket, loops: int, seconds: float) -> None:
    end: float | None = None
    with signals:
        while True:
            signals.settimeout(None if end is None else max(0.001, end - time.monotonic()))
            try:
                numbers = signals.recv(64)
            except TimeoutError:
                log.error("A model holds the server, which was told to stop: it is ended.")
                logging.shutdown()
                os._exit(0)
            if not numbers:
                return
            if loops >= 0:
                with contextlib.suppress(OSError):
                    os.write(loops, numbers)
            if end is None and any(number in numbers for number in SIGNALS):
                end = time.monotonic() + seconds
