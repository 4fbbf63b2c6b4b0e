"""A process that forks: each piece of work runs in a child, which has nothing left to import.

    server -- orders, a socket --> fork server -- forks --> reporter -- forks --> child

The fork server comes from the server's own process while that has but one thread (`fork`, a few
milliseconds), or later from a fresh Python. It holds no model and no thread, and ends when the
server closes its socket or dies; the others end with it. The child tells what it found, the
reporter how it ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NoReturn

from edgeline.errors import EdgelineError
from edgeline.server import fresh_python

ForkWork = Callable[[Mapping[str, Any]], Mapping[str, object]]
_LOOK = 0.01  # seconds between two looks at a child's memory
_LARGEST = 1 << 20  # bytes of an order, and of what a child says
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ChildEnd:
    """How a child ended.

    Attributes:
        result: what the work returned; empty where it did not get so far.
        status: its exit code, negative for a signal; None where nobody could say.
        seconds: of a core, that it took.
        over: whether it was ended since it took more memory than it may.
        log: what it wrote to stdout and stderr.
    """

    result: Mapping[str, object] = field(default_factory=dict)
    status: int | None = None
    seconds: float = 0.0
    over: bool = False
    log: str = ""


class ForkServer:
    """The server's side. `run` is safe from any thread."""

    def __init__(self, module: str) -> None:
        """`module` calls `main` with its work when it is run."""
        self._module = module
        self._lock = threading.Lock()
        self._orders: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | int | None = None
        self._running = 0

    @classmethod
    def fork(cls, module: str, work: ForkWork) -> ForkServer:
        """Begin with a fork of this process, which must have one thread."""
        made = cls(module)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        made._process = os.fork()
        if made._process == 0:
            ours.close()
            _serve(theirs, work)
        theirs.close()
        made._orders = ours
        return made

    def run(self, order: Mapping[str, object], seconds: float, memory: int) -> ChildEnd:
        """Have an order worked on in a child; waits at most `seconds` for its end.

        Args:
            memory: bytes that the child may allocate; it is ended when it has more.

        Raises:
            EdgelineError: no process can be started here.
        """
        with self._lock:
            self._running += 1
        try:
            return self._run({"order": order, "memory": memory}, seconds)
        except OSError as error:
            raise EdgelineError(
                f"No process can be started to try a model in ({error.strerror})."
            ) from error
        finally:
            with self._lock:
                self._running -= 1

    def rest(self) -> None:
        """End the fork server where it has nothing to do; `run` begins another."""
        with self._lock:
            if not self._running:
                self._end()

    def close(self) -> None:
        """End the fork server, and with it all children."""
        with self._lock:
            self._end()

    def _run(self, message: Mapping[str, object], seconds: float) -> ChildEnd:
        read, write = os.pipe()
        log = os.memfd_create("log") if hasattr(os, "memfd_create") else os.open(os.devnull, 2)
        try:
            try:
                self._send(json.dumps(message).encode(), write, log)
            finally:
                os.close(write)
            lines = _read(read, seconds).splitlines()
            said = os.pread(log, _LARGEST, 0).decode(errors="replace")
        finally:
            os.close(read)
            os.close(log)
        found: dict[str, Any] = {}
        for line in lines:
            with contextlib.suppress(ValueError):
                found |= json.loads(line)
        return ChildEnd(**found, log=said)

    def _send(self, message: bytes, *files: int) -> None:
        with self._lock:
            if self._orders is not None:
                with contextlib.suppress(OSError):  # it was ended from outside
                    socket.send_fds(self._orders, [message], files)
                    return
                self._end()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    fresh_python.command(self._module),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            self._orders = ours
            socket.send_fds(ours, [message], files)

    def _end(self) -> None:
        if self._orders is None:
            return
        self._orders.close()
        process, self._orders, self._process = self._process, None, None
        if isinstance(process, int):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)
        elif process is not None:
            process.wait()


def main(work: ForkWork) -> NoReturn:
    """Be a fork server whose orders come through stdin."""
    _serve(socket.socket(fileno=os.dup(0)), work)


def _serve(orders: socket.socket, work: ForkWork) -> NoReturn:
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what it ends has not failed by itself
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system takes reporters away
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        gc.freeze()
        while True:
            message, files, _, _ = socket.recv_fds(orders, _LARGEST, 2)
            if not message:
                break
            here = os.getpid()
            if os.fork() == 0:
                orders.close()
                _report(work, here, files, **json.loads(message))
            for number in files:
                os.close(number)
    finally:
        os._exit(0)


def _report(
    work: ForkWork, parent: int, files: Sequence[int], order: Mapping[str, object], memory: int
) -> NoReturn:
    results, log = files
    try:
        _end_with(parent)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        here, limit, over = os.getpid(), allocated() + memory, False
        child = os.fork()
        if child == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            _work(order, work, here, results, log)
        while not (ended := os.wait4(child, os.WNOHANG))[0]:
            if allocated(child) > limit:
                over = True
                os.kill(child, signal.SIGKILL)
            signal.sigtimedwait([signal.SIGCHLD], _LOOK)
        _, status, usage = ended
        found = {
            "status": os.waitstatus_to_exitcode(status),
            "seconds": usage.ru_utime + usage.ru_stime,
            "over": over,
        }
        os.write(results, b"\n" + json.dumps(found).encode() + b"\n")
    finally:
        os._exit(0)


def allocated(process: int | str = "self") -> int:
    """Bytes that a process has allocated, used or not; 0 where nobody can say."""
    try:
        with open(f"/proc/{process}/statm") as stream:
            return int(stream.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _work(
    order: Mapping[str, object], work: ForkWork, parent: int, results: int, log: int
) -> NoReturn:
    try:
        _end_with(parent)
        for number in (1, 2):
            os.dup2(log, number)
        found = work(order)
        os.write(results, json.dumps({"result": found}).encode())
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _end_with(parent: int) -> None:
    """Have the system end this process when its parent ends."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _read(file: int, seconds: float) -> bytes:
    """All that comes until the end, or until the time is over."""
    end, found = monotonic() + seconds, b""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    while poll.poll(max(0.0, end - monotonic()) * 1000):
        piece = os.read(file, 65536)
        if not piece:
            break
        found += piece
    return found
