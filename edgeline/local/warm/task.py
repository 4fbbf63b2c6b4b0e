"""A task in a fork of a warm process, and the process beside it that tells its run how it ended.

Over its channel, a stream, a run sends one line of JSON and gets two: that the task has started,
and how it ended. The channel's end is the run's end: then the task is ended, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOST_AFTER = 0.1  # seconds between two looks, where the kernel does not tell that a task has ended
PATIENCE = 5.0  # seconds that a task has to clean up
PR_SET_PDEATHSIG = 1
EXECUTOR = "kfp.dsl.executor_main"


@dataclass(frozen=True)
class EndedTask:
    """How a task's process ended.

    code: the exit code (negative: the signal); peak_memory: in bytes; cpu_seconds: of all its
    processors, 0 where it is not known.
    """

    code: int
    peak_memory: int
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Prepared:
    """What a warm process has for its tasks.

    Attributes:
        changed: variables that its imports have set, or removed (None).
        prctl: the C library's, loaded before a fork.
    """

    changed: Mapping[str, str | None]
    prctl: Any


def prepared(before: Mapping[str, str]) -> Prepared:
    """After the imports.

    Args:
        before: the environment variables before them.
    """
    now = dict(os.environ)
    changed = {name: now.get(name) for name in {*before, *now} if before.get(name) != now.get(name)}
    return Prepared(changed, ctypes.CDLL(None).prctl)


def supervise(channel: socket.socket, files: Sequence[int], own: Prepared) -> None:
    """Run one task in a fork, and tell its run how it ended; end it if the run is gone.

    Args:
        channel: to the run.
        files: descriptors of the file for its output and of its working folder.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    line = channel.makefile().readline()
    if not line.endswith("\n") or select.select([channel], [], [], 0)[0]:
        return  # the run has ended meanwhile
    request = json.loads(line)
    try:
        task = os.fork()
    except OSError as error:
        tell(channel, {"refused": f"No process could be started for it ({error.strerror})."})
        return
    if task == 0:
        channel.close()
        _execute(request, files, own, os.getppid())
    with contextlib.suppress(OSError):  # it has ended, or has done so itself
        os.setpgid(task, task)
    tell(channel, {"started": task})
    with _watched(task) as ending:
        while True:
            gone, _, _ = select.select([channel, *ending], [], [], None if ending else LOST_AFTER)
            ended, status, usage = os.wait4(task, os.WNOHANG)
            if ended:
                answer = EndedTask(
                    os.waitstatus_to_exitcode(status),
                    usage.ru_maxrss * 1024,
                    usage.ru_utime + usage.ru_stime,
                )
                tell(channel, vars(answer))
                return
            if channel in gone:
                _end(task)
                return


@contextlib.contextmanager
def _watched(task: int) -> Any:
    """What is readable when a task ends; nothing on kernels before 5.3."""
    try:
        descriptor = os.pidfd_open(task)
    except (AttributeError, OSError):
        yield []
        return
    try:
        yield [descriptor]
    finally:
        os.close(descriptor)


def tell(channel: socket.socket, answer: Mapping[str, Any]) -> None:
    """A line to the run, which may be gone."""
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps(answer).encode() + b"\n")


def _end(task: int) -> None:
    """Ask a task's process group to end, so that it can clean up; insist after five seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(task, signal.SIGINT)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not _is_over(task):
            time.sleep(LOST_AFTER)
        os.killpg(task, signal.SIGKILL)  # what it started, too


def _is_over(task: int) -> bool:
    """Whether it has ended; it is not waited for, so that its number stays its group's."""
    return os.waitid(os.P_PID, task, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _execute(request: Mapping[str, Any], files: Sequence[int], own: Prepared, above: int) -> None:
    """Become the task: what kfp's container command does, in this process."""
    gc.enable()
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    own.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody else could end it
    if os.getppid() != above:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log, folder = files
    code = 1
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.fchdir(folder)
        os.close(log)
        os.close(folder)
        _take_on(request, own)
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, "ephemeral_component.py")
            path.write_text(request["source"], "utf-8")
            sys.argv = ["executor", "--component_module_path", str(path), *request["arguments"]]
            runpy.run_module(EXECUTOR, run_name="__main__", alter_sys=False)
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _take_on(request: Mapping[str, Any], own: Prepared) -> None:
    """Have what a process of the run would have been started with."""
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["env"])
    for name, value in own.changed.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.environ.update(request["own"])
    tempfile.tempdir = None  # of the variables before
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, str(Path.cwd()))
    importlib.invalidate_caches()  # files may have come since the imports
    if "numpy" in sys.modules:  # else the same numbers in each task; Python's own seeds itself
        sys.modules["numpy"].random.seed()
