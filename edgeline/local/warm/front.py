"""The process of a set of warm processes that runs talk to.

It imports nothing heavy, waits for no other process and never blocks, so it answers at any time. A
run holds a connection as long as it lasts: by it the set knows whether it is used. Where there was
none for the seconds that the last run asked for, where memory gets short, or when it is told to
stop, the set ends; each process of it ends when the one that talks to it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeline.local.warm import messages, stage
from edgeline.local.warm.places import LOG
from edgeline.local.warm.stages import up_to

FILES_OF_A_TASK = 3  # descriptors: its channel, the file for its output, its working folder
LOOK = 5.0  # seconds between two looks at the memory, while nobody uses the set
LEAST_FREE = 0.1  # of the machine's memory, below which an idle set ends
MEMORY = Path("/proc/meminfo")


@dataclass
class StageProcess:
    """The front's side of a warm process.

    Attributes:
        connection: None where it is gone.
        process: its number, 0 as long as it imports.
        waiting: messages that it has no room for yet, with their descriptors.
    """

    connection: socket.socket | None
    process: int = 0
    waiting: deque[tuple[dict[str, Any], list[int]]] = field(default_factory=deque)

    def give(self, message: dict[str, Any], files: list[int]) -> None:
        self.waiting.append((message, files))
        self.flush()

    def flush(self) -> None:
        """Hand on what there is room for; what nobody takes is closed, by which its run knows."""
        while self.waiting:
            message, files = self.waiting[0]
            try:
                if self.connection:
                    messages.send(self.connection, message, *files)
            except BlockingIOError:
                return
            except OSError:
                pass
            self.waiting.popleft()
            messages.close(files)


class Front:
    """A set that runs share, or one of a single run."""

    def __init__(self, listener: socket.socket | None, file: Path | None, inode: int) -> None:
        self._listener = listener
        self._file, self._inode = file, inode
        self._told: dict[str, Any] = {}
        self._runs: dict[socket.socket, int] = {}  # by their connections, numbered as they came
        self._count = 0
        self._stages: dict[str, StageProcess] = {}
        self._seconds = 0.0
        self._idle_since = time.monotonic()
        self._over = listener is None  # takes no further run
        self._ready = selectors.DefaultSelector()
        if listener:
            listener.setblocking(False)
            listener.listen()  # again: whoever connects sees this process as the one that listens
            self._ready.register(listener, selectors.EVENT_READ, self._accept)

    def serve(self, first: socket.socket, told: Mapping[str, Any]) -> None:
        """Until the end of the set.

        Args:
            first: the connection of the run that started it.
            told: what `status` answers beside what changes.
        """
        self._told = dict(told)
        self._add(first)
        self._hear(first)  # what it wants is there, or it has ended
        while not self._is_at_its_end():
            for key, _ in self._ready.select(self._patience()):
                if key.fileobj.fileno() >= 0:  # type: ignore[union-attr]  # not closed meanwhile
                    key.data(key.fileobj)
            for each in self._stages.values():
                each.flush()
            self._look_for_room()
        self._close()

    def _is_at_its_end(self) -> bool:
        if self._runs:
            return False
        if self._over or _memory_is_short():
            return True
        return time.monotonic() - self._idle_since >= self._seconds

    def _patience(self) -> float | None:
        """Seconds until something is to be looked at, if nothing happens."""
        if self._runs:
            return None
        return max(0.0, min(LOOK, self._idle_since + self._seconds - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            if messages.peer(connection)[1] == os.geteuid():
                self._add(connection)
            else:
                connection.close()

    def _add(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._ready.register(connection, selectors.EVENT_READ, self._hear)

    def _hear(self, connection: socket.socket) -> None:
        """A message of a run, or its end."""
        try:
            received = messages.receive(connection)
            if received is None:
                self._drop(connection)
                return
            self._do(connection, *received)
        except BlockingIOError:
            return
        except (OSError, ValueError, KeyError, TypeError):  # not what a run says: it is let go of
            self._drop(connection)

    def _do(self, connection: socket.socket, message: dict[str, Any], files: list[int]) -> None:
        kind, number = message.get("kind"), self._runs.get(connection)
        one = self._stages.get(str(message.get("stage")))
        if kind == "task" and number and one and len(files) == FILES_OF_A_TASK:
            one.give({"run": number}, files)
            return
        messages.close(files)
        if kind == "run":
            self._count += 1
            self._runs[connection] = self._count
            self._seconds = float(message["seconds"])
            self._grow(message["stages"])
            messages.send(connection, {"taken": not self._over})
        elif kind == "status":
            messages.send(connection, self._status())
        elif kind == "stop":
            self._leave()
            messages.send(connection, {"runs": len(self._runs)})

    def _drop(self, connection: socket.socket) -> None:
        self._ready.unregister(connection)
        connection.close()
        if self._runs.pop(connection, 0) and not self._runs:
            self._idle_since = time.monotonic()

    def _grow(self, wanted: Sequence[str]) -> None:
        """Have the chain up to the last of the stages."""
        for name in up_to(wanted):
            if name in self._stages:
                continue
            own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            above = [*self._stages.values()]
            if above:
                above[-1].give({"next": name}, [other.detach()])
            elif os.fork() == 0:
                own.close()
                self._become_first(name, other)
            else:
                other.close()
            own.setblocking(False)
            self._stages[name] = StageProcess(own)
            self._ready.register(own, selectors.EVENT_READ, self._hear_stage)

    def _become_first(self, name: str, front: socket.socket) -> None:
        """In the fork that is the first warm process: without what the front holds."""
        try:
            for key in list(self._ready.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
            self._ready.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            stage.serve(name, front, {})
        except BaseException:
            traceback.print_exc()
        finally:  # never back into the front's own work
            sys.stderr.flush()
            os._exit(1)

    def _hear_stage(self, connection: socket.socket) -> None:
        [one] = [each for each in self._stages.values() if each.connection is connection]
        try:
            received = messages.receive(connection)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            received = None
        if received is None:
            self._ready.unregister(connection)
            connection.close()
            one.connection, one.process = None, 0
            one.flush()
        elif "ready" in received[0]:
            one.process = received[0]["ready"]
            return
        # gone, failed or stale: the next run gets another set
        self._leave(keep_log=received is None or "failed" in received[0])

    def _look_for_room(self) -> None:
        for each in self._stages.values():
            if each.connection:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if each.waiting else 0)
                self._ready.modify(each.connection, events, self._hear_stage)

    def _leave(self, keep_log: bool = False) -> None:
        """Take no further run: another set may take the place."""
        self._over = True
        if self._listener is None or self._file is None:
            return
        # in this order: whoever finds nobody listening finds the place free
        with contextlib.suppress(OSError):
            if self._file.stat().st_ino == self._inode:
                self._file.unlink()
                if not keep_log:
                    self._file.with_suffix(LOG).unlink(missing_ok=True)
        self._ready.unregister(self._listener)
        self._listener.close()
        self._listener = None

    def _status(self) -> dict[str, Any]:
        left = None
        if not self._runs:
            left = max(0.0, self._seconds - (time.monotonic() - self._idle_since))
        processes = [each.process for each in self._stages.values() if each.process]
        return {
            **self._told,
            "process": os.getpid(),
            "processes": [os.getpid(), *processes],
            "runs": len(self._runs),
            "stages": {name: bool(each.process) for name, each in self._stages.items()},
            "ends_in": left,
        }

    def _close(self) -> None:
        self._leave()
        for each in self._stages.values():
            if each.connection:
                each.connection.close()


def _memory_is_short() -> bool:
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        free, total = (int(lines[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
    except (OSError, ValueError, KeyError):
        return False
    return free < LEAST_FREE * total


@contextlib.contextmanager
def _own_temporary_folder() -> Iterator[None]:
    """What an import leaves in the temporary folder, as matplotlib's does where it may not write to
    the user's, goes with the set."""
    try:
        folder = tempfile.mkdtemp(prefix="edgeline-imports-")
    except OSError:  # a full disk, or one that may not be written to
        yield
        return
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: str) -> None:
    """The process of a set, which a run starts with descriptors and a JSON object of `status`."""
    os.setsid()
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(each, signal.SIG_IGN if each == signal.SIGPIPE else signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    given = json.loads(arguments)
    listener = socket.socket(fileno=given["listener"]) if given["listener"] is not None else None
    file = Path(given["file"]) if given["file"] else None
    front = Front(listener, file, given["inode"])
    with _own_temporary_folder():
        front.serve(socket.socket(fileno=given["first"]), given["told"])
    sys.stdout.flush()
    os._exit(0)
