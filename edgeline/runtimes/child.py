"""Run a function in a child process, so that what crashes there is an error here."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, UsageError
from edgeline.runtimes import limits

GRACE = 30.0  # seconds after which a child that outlived its own limits is given up
KERAS = "Exception encountered when calling"
MODEL_TIME = 600.0  # seconds of a core that loading or running a model of others may take


@dataclass
class ChildError(Exception):
    """A child process that ended without a result.

    `how` is a phrase ("was killed by SIGSEGV", "exceeded 600 s of a core", "failed"), `doing` what
    it last told, `log` all that it printed, and the traceback if it raised.
    """

    how: str
    doing: str
    log: str


def call(
    function: Callable[..., object],
    *arguments: object,
    time_limit: float,
    memory: int | None = None,
) -> Any:
    """Call `function(tell, *arguments)` in a child process and return what it returns.

    `tell(text)` says what the child is about to do. Both must be picklable, as arguments and
    result. The child is forked while TensorFlow, if loaded, has not run anything here, so that
    it need not be loaded twice; else it starts anew, for TensorFlow's threads do not survive a
    fork. With `memory` it may take so many bytes beyond those that it begins with.

    Raises:
        EdgelineError: as raised in the child.
        ChildError: the child crashed, raised, or took more than `time_limit` seconds of a core or
            `limits.CLOCK` times as many by the clock for what it last told.
        Exception: whatever the function returned as an exception.
    """
    context: Any = multiprocessing.get_context("spawn" if _tensorflow_runs() else "fork")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        process = context.Process(
            target=_run, args=(sender, log, time_limit, memory, function, arguments)
        )
        process.start()
        sender.close()
        doing, result = "starting", None
        try:
            while result is None:
                if not receiver.poll(limits.CLOCK * time_limit + GRACE):
                    raise ChildError(f"exceeded {limits.CLOCK * time_limit:g} s", doing, _read(log))
                kind, value = receiver.recv()
                if kind == "doing":
                    doing = value
                else:
                    result = (kind, value)
        except EOFError:
            process.join()
            said, how = _read(log), _how(process.exitcode, time_limit)
            raise ChildError(_too_much(memory, said) or how, doing, said) from None
        finally:
            process.kill()
            with contextlib.suppress(OSError):  # the group of the child: all that it started
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
        if result[0] in ("refused", "usage"):
            raise (UsageError if result[0] == "usage" else EdgelineError)(result[1])
        if result[0] == "raised":
            said = _read(log) + result[1]
            raise ChildError(_too_much(memory, result[1]) or "failed", doing, said)
    return result[1]


def room(size: int) -> int:
    """Bytes that a child may take which runs a model of others whose files have `size` bytes."""
    return (1 << 30) + 8 * size


def last_error(log: str) -> str:
    """What a child said went wrong last, in brackets behind a space; "" where it said nothing.

    Keras names the layer on the line of the error, and what is wrong, in bold, on the next one.
    """
    plain = (re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in log.splitlines())
    lines = [line for line in plain if line]
    found = next((place for place in reversed(range(len(lines))) if "Error" in lines[place]), None)
    if found is None:
        return ""
    while KERAS in lines[found] and found + 1 < len(lines):
        found += 1
    return f" ({lines[found][:300].rstrip('.:')})"


def _run(
    sender: Connection,
    log: Path,
    time_limit: float,
    memory: int | None,
    function: Callable[..., object],
    arguments: Any,
) -> None:
    import traceback

    def tell(text: str) -> None:
        limits.begin(time_limit)
        sender.send(("doing", text))

    os.setsid()  # a group of its own
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)  # the converter, being C++, prints to the descriptors
    os.dup2(stream, 2)
    try:
        limits.begin(time_limit)
        if memory is not None:
            limits.memory(memory)
        result = function(tell, *arguments)
        limits.end()
        sender.send(("returned", result))
    except EdgelineError as error:
        kind = "usage" if isinstance(error, UsageError) else "refused"
        sender.send((kind, str(error)))
    except Exception:
        sender.send(("raised", traceback.format_exc()))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # TensorFlow's threads need no farewell


def _tensorflow_runs() -> bool:
    eager = sys.modules.get("tensorflow.python.eager.context")
    context = getattr(eager, "_context", None)
    return context is not None and getattr(context, "_initialized", True)


def _too_much(memory: int | None, said: str) -> str:
    """That a child took more memory than it might, if that is what it said in the end."""
    refused = any(word in said for word in ("MemoryError", "bad_alloc", "Cannot allocate memory"))
    return f"exceeded {memory:,} bytes of memory" if memory is not None and refused else ""


def _how(code: int | None, time_limit: float) -> str:
    if limit := limits.exceeded(code, time_limit):
        return f"exceeded {limit}"
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _read(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""
