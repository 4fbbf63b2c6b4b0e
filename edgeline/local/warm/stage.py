"""One warm process of a set: it imports a stage, and forks for each task and for the next stage."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from edgeline.errors import first_line
from edgeline.local.warm import messages
from edgeline.local.warm.files import FileState, seen
from edgeline.local.warm.stages import AFTERWARDS, LEFT_OUT, STAGES
from edgeline.local.warm.task import Prepared, prepared, supervise, tell

FIRST = 1  # the run that the imports were made for
STARTED = time.time_ns()


def serve(name: str, front: socket.socket, above: Mapping[str, FileState | None]) -> None:
    """Import a stage and do what the front says, until it is gone; never returns.

    Args:
        front: gives tasks, by {"task", "run"} with three descriptors: the channel to the run, the
            file for its output and its working folder; and the next stage, by {"next"} with the
            socket that the front talks to it by. It is told what the stage is: `ready`, `failed`
            or `stale`.
        above: the files of what is imported already.
    """
    before = dict(os.environ)
    failed = ""
    try:
        _import(name)
    except BaseException as error:
        traceback.print_exc()
        failed = f"{type(error).__name__}: {first_line(error)}"
    files = {**_files(), **above}
    own = prepared(before)
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # tasks share these pages, and do not look through them again and again
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the supervisors
    _report(front, {"failed": failed} if failed else {"ready": os.getpid()})
    looked_for = FIRST
    later = [] if failed else list(AFTERWARDS.get(name, ()))
    while True:
        if later and not select.select([front], [], [], 0)[0]:
            _import_later(later.pop(0))
            files = {**_files(), **files}
            gc.freeze()
            continue
        try:
            received = messages.receive(front)
        except OSError:
            received = None
        if received is None:
            os._exit(0)
        message, descriptors = received
        if "next" in message:
            _next(message["next"], front, descriptors, files)
            continue
        answer = {"failed": failed} if failed else {}
        if not failed and message["run"] > looked_for:
            looked_for = message["run"]
            if changed := _changed(files):
                answer = {"stale": changed}
                _report(front, answer)
        _task(descriptors, front, own, answer)


def _import(name: str) -> None:
    gc.disable()  # nearly all that an import makes stays
    if left_out := LEFT_OUT.get(name):
        sys.modules[left_out] = None  # type: ignore[assignment]  # makes its import an ImportError
    for module in STAGES[name]:
        importlib.import_module(module)
    if left_out:
        del sys.modules[left_out]  # later stages and users' modules may import it


def _import_later(module: str) -> None:
    """What a task would import itself; where it cannot, the task says so."""
    try:
        importlib.import_module(module)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()


def _report(front: socket.socket, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        messages.send(front, dict(message))


def _next(
    name: str, front: socket.socket, descriptors: list[int], files: Mapping[str, FileState | None]
) -> None:
    try:
        child = os.fork()
    except OSError:
        traceback.print_exc()
        child = -1
    if child == 0:
        front.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve(name, socket.socket(fileno=descriptors[0]), files)
    messages.close(descriptors)  # where there is no next one, its runs are told so by that


def _task(
    descriptors: list[int], front: socket.socket, own: Prepared, answer: Mapping[str, Any]
) -> None:
    """Fork for a task; or give its run the answer that there is none."""
    channel = socket.socket(fileno=descriptors[0])
    if not answer:
        try:
            if os.fork() == 0:
                try:
                    front.close()
                    supervise(channel, descriptors[1:], own)
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(0)
        except OSError as error:
            said = f"No process could be started for it ({error.strerror})."
            answer = {"refused": said}
    if answer:
        tell(channel, answer)
    channel.close()
    messages.close(descriptors[1:])


def _files() -> dict[str, FileState | None]:
    """The files of all that is imported, as they were; None for what may have changed since."""
    modules = list(sys.modules.values())
    found = {getattr(module, "__file__", None) for module in modules}
    now = {file: seen(file) for file in found if isinstance(file, str)}
    return {file: each if each and each[0] < STARTED else None for file, each in now.items()}


def _changed(files: Mapping[str, FileState | None]) -> str:
    """A file that is another one than it was; "" where there is none."""
    return next(
        (file for file, before in files.items() if before is None or seen(file) != before), ""
    )
