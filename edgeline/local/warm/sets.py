"""The sets of warm processes of this user: one is found or started for a run, shown, stopped."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.errors import UsageError
from edgeline.local.warm import messages, places
from edgeline.local.warm.identity import ROOT, Identity, identity, of_imports
from edgeline.local.warm.places import LOG, SOCKET
from edgeline.version import __version__

SECONDS = "EDGELINE_WARM_SECONDS"
DEFAULT_SECONDS = 600.0
MOST = 2  # sets of a user; a set with all stages holds some 700 MB
PATIENCE = 2.0  # seconds for an answer, and for an end
# as `python -m`, but without a folder that happens to be the working folder, and as nobody's child
START = """
import os, sys
if os.fork():
    os._exit(0)
sys.path[:] = [each for each in sys.path if each]
sys.path.append(sys.argv[1])
from edgeline.local.warm.front import main
main(sys.argv[2])
"""


@dataclass(frozen=True)
class Held:
    """What a run holds of a set.

    Attributes:
        connection: by which the set knows that it is used.
        log: what the imports print.
        launcher: the process that started it, to be waited for; None where it was there.
    """

    connection: socket.socket
    log: Path
    launcher: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        self.connection.close()
        if self.launcher:
            self.launcher.wait()


@dataclass(frozen=True)
class KeptSet:
    """A set of warm processes that runs may share.

    Attributes:
        name: of its files.
        python, edgeline: the interpreter, and the version of edgeline.
        process, processes: the number of its front, and those of all that only wait.
        started: seconds since 1970.
        runs: how many use it.
        ends_in: seconds until it ends; None while it is used.
        stages: what it has imported, and whether it is done.
        identity: with which runs it is shared.
    """

    name: str
    python: str
    edgeline: str
    process: int
    processes: tuple[int, ...]
    started: float
    runs: int
    ends_in: float | None
    stages: dict[str, bool]
    identity: Identity

    @property
    def memory(self) -> int:
        """Bytes of the processes that only wait, a page that they share counted once."""
        return sum(map(_memory, self.processes))


def seconds() -> float:
    """For how long warm processes stay idle; 0: they end with their run.

    Raises:
        UsageError: EDGELINE_WARM_SECONDS is no such number.
    """
    given = os.environ.get(SECONDS, "")
    try:
        value = float(given) if given else DEFAULT_SECONDS
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(
            f"{SECONDS} is {given!r}, which is not a number of seconds: give one such as 600, or 0 "
            "to keep no warm processes after a run."
        )
    return value


def take(stages: Sequence[str], log: Path) -> Held:
    """A set for a run: one that is there, or a new one. Without a folder for the sockets, and where
    as many as may be are in use, it is one that ends with the run.

    Args:
        stages: what the run needs; a set that has less goes on importing.
        log: for what the imports of a set that ends with the run print.

    Raises:
        UsageError: as `seconds`.
        OSError: no process can be started.
    """
    wanted = {"kind": "run", "stages": list(stages), "seconds": seconds()}
    place = places.folder() if wanted["seconds"] else None
    if place is None:
        return _start(wanted, log)
    try:
        own = identity()
    except OSError:  # a system that does not tell what this process may do
        return _start(wanted, log)
    with places.locked(place) as held:
        if not held:
            return _start(wanted, log)
        file = place / f"{own.name}{SOCKET}"
        with contextlib.suppress(TimeoutError):
            connection = _connect(file)
            if connection and _asked(connection, wanted).get("taken"):
                return Held(connection, file.with_suffix(LOG))
            if connection:
                connection.close()
            if _make_room(place, own):
                _remove(file)
                return _start(wanted, file.with_suffix(LOG), file, own)
    return _start(wanted, log)


def kept() -> list[KeptSet]:
    """The sets of this user that answer, the oldest first."""
    place = places.folder()
    found = []
    for file in sorted(place.glob(f"*{SOCKET}")) if place else ():
        with contextlib.suppress(TimeoutError):
            if one := _told(file):
                found.append(one)
    return sorted(found, key=lambda one: one.started)


def stop() -> tuple[list[KeptSet], list[KeptSet]]:
    """Stop the sets of this user.

    Returns:
        those that have ended, and those that runs use, which end with these.
    """
    place = places.folder()
    ended, used = [], []
    for file in sorted(place.glob(f"*{SOCKET}")) if place else ():
        try:
            one = _told(file)
        except TimeoutError:
            _kill(file)
            continue
        if one is None:
            _remove(file)
        elif _stopped(file):
            ended.append(one)
        else:
            used.append(one)
    return ended, used


def _make_room(place: Path, own: Identity) -> bool:
    """End the sets that no run can use any more, and where there are too many the one that is idle
    for the longest time; whether there may be one more."""
    left = []
    for file in sorted(place.glob(f"*{SOCKET}")):
        if file.stem == own.name:
            continue
        try:
            one = _told(file)
        except TimeoutError:
            left.append((True, 0.0, file))
            continue
        if one is None:
            _remove(file)
            continue
        outdated = one.identity.environment == own.environment and one.identity.code != own.code
        if not (outdated and _stopped(file)):
            left.append((one.runs > 0, one.ends_in or 0.0, file))
    for used, _, file in sorted(left)[: max(0, len(left) + 1 - MOST)]:
        if used or not _stopped(file):
            return False
    return True


def _connect(file: Path) -> socket.socket | None:
    """A connection to a set; None where nobody of this user listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(str(file))
        if messages.peer(connection)[1] == os.geteuid():
            return connection
    except TimeoutError:
        connection.close()
        raise
    except OSError:
        pass
    connection.close()
    return None


def _asked(connection: socket.socket, message: dict[str, Any]) -> dict[str, Any]:
    """The answer of a set; {} where it has ended.

    Raises:
        TimeoutError: it does not answer: it was stopped by a signal.
    """
    try:
        messages.send(connection, message)
        answer = messages.receive(connection)
    except TimeoutError:
        connection.close()
        raise
    except (OSError, ValueError):
        return {}
    return answer[0] if answer else {}


def _told(file: Path) -> KeptSet | None:
    """What a set tells of itself; None where it is gone.

    Raises:
        TimeoutError: as `_asked`.
    """
    connection = _connect(file)
    if connection is None:
        return None
    with connection:
        told = _asked(connection, {"kind": "status"})
    if not told:
        return None
    try:
        own = {"identity": Identity(**told["identity"]), "processes": tuple(told["processes"])}
        return KeptSet(**{**told, **own, "name": file.stem})
    except (KeyError, TypeError):  # of another edgeline, which nothing here can use
        _stopped(file)
        return None


def _stopped(file: Path) -> bool:
    """Tell a set to stop; whether it has ended, as no run used it.

    Raises:
        TimeoutError: as `_asked`.
    """
    connection = _connect(file)
    if connection is None:
        return True
    with connection:
        if _asked(connection, {"kind": "stop"}).get("runs"):
            return False
        with contextlib.suppress(OSError, ValueError):
            messages.receive(connection)  # its end
    return True


def _kill(file: Path) -> None:
    """End a set that does not answer: whoever listens there is this user's, as the kernel says."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with connection, contextlib.suppress(OSError):
        connection.settimeout(PATIENCE)
        connection.connect(str(file))
        process, user = messages.peer(connection)
        if user == os.geteuid():
            os.kill(process, signal.SIGKILL)
    _remove(file)


def _remove(file: Path) -> None:
    """What a set that was killed has left."""
    for each in (file, file.with_suffix(LOG)):
        each.unlink(missing_ok=True)


def _start(
    wanted: dict[str, Any], log: Path, file: Path | None = None, own: Identity | None = None
) -> Held:
    """A new set; with a file for its socket one that other runs may use."""
    connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    messages.send(connection, wanted)
    with other, _listening(file) as listener:
        passed = [each.fileno() for each in (other, listener) if each]
        given = {
            "first": passed[0],
            "listener": passed[1] if listener else None,
            "file": str(file) if file else None,
            "inode": file.stat().st_ino if file else 0,
            "told": {
                "python": sys.executable,
                "edgeline": __version__,
                "started": time.time(),
                "identity": vars(own) if own else None,
            },
        }
        with _log(log) as stream:
            launcher = subprocess.Popen(
                [sys.executable, "-c", START, str(ROOT), json.dumps(given)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=of_imports(os.environ),
                cwd="/",
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C goes to the run, which ends the tasks itself
            )
    return Held(connection, log, launcher)


@contextlib.contextmanager
def _listening(file: Path | None) -> Iterator[socket.socket | None]:
    """A socket that listens at a file, at once: a run that comes now waits there for the set."""
    if file is None:
        yield None
        return
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(draft))
        listener.listen()
        draft.replace(file)
        yield listener


@contextlib.contextmanager
def _log(file: Path) -> Iterator[Any]:
    """A file for what is printed, which nobody else may read; nothing where there can be none."""
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        yield subprocess.DEVNULL
        return
    with open(number, "ab") as stream:
        yield stream


def _memory(process: int) -> int:
    """Its proportional set size in bytes; 0 where it has ended."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
