"""Run a function in a child process, so that what crashes there is an error here."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, UsageError
from edgeline.runtimes import limits

GRACE = 30.0  # seconds after which a child that outlived its own limits is given up
KERAS = "Exception encountered when calling"
BEYOND = 1 << 29  # bytes above the limit at which the system refuses: who watches ends it before
_LOOK = 0.02  # seconds between two looks at a child's memory


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
    memory: int,
    time_limit: float | None = None,
) -> Any:
    """Call `function(tell, *arguments)` in a child process and return what it returns.

    `tell(text)` says what the child is about to do. Both must be picklable, as arguments and
    result. The child is forked while TensorFlow, if loaded, has not run anything here, so that
    it need not be loaded twice; else it starts anew, for TensorFlow's threads do not survive a
    fork. Where the machine's memory ends, the child goes first.

    Args:
        memory: bytes that it may take beyond those that it begins with, allocated or mapped; see
            `limits.room` and `limits.converter_room`.
        time_limit: seconds of a core for what it last told; by default `limits.model_time`.

    Raises:
        EdgelineError: as raised in the child.
        ChildError: the child crashed, raised, took more memory, or took more than `time_limit`
            seconds of a core or `limits.CLOCK` times as many by the clock.
        Exception: whatever the function returned as an exception.
    """
    seconds = limits.model_time() if time_limit is None else time_limit
    more_time = "" if time_limit is not None else f" ({limits.TIME_VARIABLE} allows more)"
    context: Any = multiprocessing.get_context("spawn" if _tensorflow_runs() else "fork")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        process = context.Process(
            target=_run, args=(sender, log, seconds, memory, function, arguments)
        )
        process.start()
        sender.close()
        most = _data(process.pid) + memory
        doing, result = "starting", None
        try:
            while result is None:
                if not _heard(receiver, process.pid, seconds, most):
                    over = _data(process.pid) > most
                    how = (
                        limits.too_much(memory)
                        if over
                        else f"exceeded {limits.CLOCK * seconds:g} s"
                    )
                    raise ChildError(how + ("" if over else more_time), doing, _read(log))
                kind, value = receiver.recv()
                if kind == "doing":
                    doing = value
                else:
                    result = (kind, value)
        except EOFError:
            process.join()
            said, how = _read(log), _how(process.exitcode, seconds)
            if how.startswith("exceeded"):
                how += more_time
            raise ChildError(_refused(memory, said) or how, doing, said) from None
        finally:
            process.kill()
            with contextlib.suppress(OSError):  # the group of the child: all that it started
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
        if result[0] in ("refused", "usage"):
            raise (UsageError if result[0] == "usage" else EdgelineError)(result[1])
        if result[0] == "raised":
            said = _read(log) + result[1]
            raise ChildError(_refused(memory, result[1]) or "failed", doing, said)
    return result[1]


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
    memory: int,
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
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        limits.memory(memory + BEYOND)
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


def _heard(receiver: Connection, pid: int, seconds: float, most: int) -> bool:
    """Wait until a child says something or ends; False where it is too large, or silent too long.

    Its memory is looked at meanwhile: native code that is refused some would crash, and a crash
    says less.
    """
    end = time.monotonic() + limits.CLOCK * seconds + GRACE
    while not receiver.poll(_LOOK):
        if _data(pid) > most or time.monotonic() > end:
            return False
    return True


def _data(pid: int) -> int:
    """Bytes of a process's private mappings, heap and stacks; 0 where nobody can say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _refused(memory: int, said: str) -> str:
    """That a child took more memory than it might, if that is what it said in the end."""
    return limits.too_much(memory) if limits.lacked_memory(said) else ""


def _how(code: int | None, time_limit: float) -> str:
    if limit := limits.exceeded(code, time_limit):
        return f"exceeded {limit}"
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _read(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""
