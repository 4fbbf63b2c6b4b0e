"""A step of a candidate's way, or of a trial's, in a process of its own.

tf.Transform switches TensorFlow to Keras 2 for a whole process, TensorFlow gives memory back only
when its process ends, and what a step crashes on is to end this model and no other: each step is a
fork, or where a fork after imports is not safe a new process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.formats.told_apart import told_apart

LOOK = 1.0  # seconds between two looks whether a step that says nothing is alive


class StepFailedError(Exception):
    """Why a step did not end well, in one sentence for people."""


def run(name: str, work: Callable[..., Any], *arguments: Any, memory: int = 0) -> Any:
    """Call `work(*arguments)` in another process; its output goes where that of this one goes.

    Args:
        name: of the step, for the sentence where it fails.
        work: a function of a module; arguments and result are pickled.
        memory: bytes that the process and those it starts may hold, looked at once a second, on
            Linux; 0: any.

    Raises:
        StepFailedError: it raised, its process was killed, or it took more memory.
    """
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    sys.stdout.flush()
    sys.stderr.flush()
    process = context.Process(target=_run, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        # what a killed step has started may hold its end of the pipe open: that is no sign of life
        while not receiver.poll(LOOK):
            if not process.is_alive() and not receiver.poll():
                raise EOFError
            if memory and (held := _held(process.pid)) > memory:
                own, limit = told_apart(held / 1e6, memory / 1e6, ",.0f")
                raise StepFailedError(
                    f"{name}: it held {own} MB of memory, above the limit of {limit} MB."
                )
        kind, value = receiver.recv()
    except EOFError:
        process.join()
        raise StepFailedError(f"{name}: {_killed(process.exitcode)}") from None
    finally:
        if sys.exc_info()[0] is not None and process.is_alive():
            _end(process)
        process.join()
    if kind != "returned":
        raise StepFailedError(f"{name}: {value}")
    return value


def _run(sender: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        sender.send(("returned", work(*arguments)))
    except EdgelineError as error:
        sender.send(("refused", str(error)))
    except Exception as error:
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[0][:300].rstrip(".") if lines else "no words"
        sender.send(("raised", f"{type(error).__name__}: {said}; the task's log has the rest."))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # TensorFlow's threads need no farewell


def _held(process: int) -> int:
    """Bytes of memory that a process and all that it started hold; 0 where nobody tells."""
    found = 0
    with contextlib.suppress(OSError, ValueError):  # it may have ended meanwhile
        of_process = Path("/proc") / str(process)
        lines = (of_process / "status").read_text().splitlines()
        sizes = {name: rest.split()[0] for name, _, rest in (x.partition(":") for x in lines)
                 if name.startswith("Vm")}  # fmt: skip
        found = int(sizes.get("VmRSS", 0)) * 1024
        for task in (of_process / "task").iterdir():
            found += sum(map(_held, map(int, (task / "children").read_text().split())))
    return found


def _killed(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended with exit code {code}; the task's log has the rest."
    what = f"its process was killed by {signal.Signals(-code).name}"
    if code == -signal.SIGKILL:
        return f"{what}, as the system does when memory is short: give the task more."
    return f"{what}; the task's log has the rest."


def _end(process: Any) -> None:
    """Ask a step to end, so that it can clean up; insist after five seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)
    process.join(5)
    if process.is_alive():
        process.kill()
