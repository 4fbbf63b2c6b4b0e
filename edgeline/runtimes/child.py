"""Run a function in a child process, so that what crashes there is an error here."""

from __future__ import annotations

import _thread
import contextlib
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, UsageError
from edgeline.runtimes import limits

GRACE = 30.0  # seconds after which a child that outlived its own limits is given up
NO_GPU = re.compile(r"\bcuda_\w+\.cc:")  # TensorFlow's error of no weight where there is no GPU
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

    Args:
        memory: as of `Child`.
        time_limit: as of `Child`.

    Raises:
        EdgelineError: as raised in the child.
        ChildError: as of `Child.receive`.
    """
    running = Child(function, *arguments, memory=memory, time_limit=time_limit)
    try:
        return running.receive()
    finally:
        running.end()


class Child:
    """A child process in which `function(tell, *arguments)` runs, and what it says.

    `tell(text)` says what the child is about to do; `tell` is a `Parent`, which takes requests and
    answers them, too. All must be picklable, as arguments, requests and results. The child is
    forked while TensorFlow, if loaded, has not run anything here, so that it need not be loaded
    twice; else a fork server is forked, since TensorFlow's threads do not survive a fork. That one
    starts with the first such child, loads once for all of them what that needs, and runs nothing.
    Where the machine's memory ends, the child goes first. It ends with this process, too.

    Args:
        memory: bytes that it may take beyond those that it begins with, allocated or mapped; see
            `limits.room` and `limits.converter_room`.
        time_limit: seconds of a core for what it last told, or for a request; by default
            `limits.model_time`.
        anew: do not fork this process in any case, since its other threads may hold locks.
        tensorflow: whether the function needs TensorFlow, where that is loaded here.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: object,
        memory: int,
        time_limit: float | None = None,
        anew: bool = False,
        tensorflow: bool = True,
    ) -> None:
        self._seconds = limits.model_time() if time_limit is None else time_limit
        self._more_time = "" if time_limit is not None else f" ({limits.TIME_VARIABLE} allows more)"
        self._memory, self._doing = memory, "starting"
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "log"
        work = (self._log, self._seconds, memory, function, arguments)
        if anew or _tensorflow_runs():
            self._line, line, self._process = _of_fork_server(work, tensorflow)
        else:
            context: Any = multiprocessing.get_context("fork")
            self._line, line = context.Pipe()
            self._process = context.Process(target=_run, args=(line, self._line, None, *work))
            self._process.start()
        line.close()
        self._most = _data(self._process.pid) + memory
        # at the latest when this process ends, before multiprocessing waits for what it started
        self.end = weakref.finalize(
            self, _end, os.getpid(), self._process, self._line, self._folder
        )
        """End the child and all that it started."""

    def send(self, request: object) -> None:
        """Give the child what `Parent.requests` yields next; `receive` tells what became of it."""
        self._doing = "answering"
        with contextlib.suppress(OSError):  # it has ended
            self._line.send(request)

    def receive(self) -> Any:
        """What the child answers next, or returns in the end.

        Raises:
            EdgelineError: as raised in the child.
            ChildError: the child crashed, raised, took more memory, or took more than its time
                limit in seconds of a core or `limits.CLOCK` times as many by the clock.
        """
        try:
            while True:
                if not _heard(self._line, self._process.pid, self._seconds, self._most):
                    raise ChildError(self._exceeded(), self._doing, _read(self._log))
                kind, value = self._line.recv()
                if kind != "doing":
                    break
                self._doing = value
        except (EOFError, ConnectionResetError):
            self._process.join()
            said, how = _read(self._log), _how(self._process.exitcode, self._seconds)
            if how.startswith("exceeded"):
                how += self._more_time
            raise ChildError(_refused(self._memory, said) or how, self._doing, said) from None
        refused = kind in ("refused", "usage") or isinstance(value, EdgelineError)
        if refused and (more := _refused(self._memory, str(value))):
            raise ChildError(more, self._doing, _read(self._log))
        if kind in ("refused", "usage"):
            raise (UsageError if kind == "usage" else EdgelineError)(value)
        if kind == "raised":
            said = _read(self._log) + value
            raise ChildError(_refused(self._memory, value) or "failed", self._doing, said)
        return value

    def _exceeded(self) -> str:
        if _data(self._process.pid) > self._most:
            return limits.too_much(self._memory)
        return f"exceeded {limits.CLOCK * self._seconds:g} s" + self._more_time


class Parent:
    """The process that started a child, as the child sees it: call it with what comes next."""

    def __init__(self, line: Connection, seconds: float) -> None:
        self._line, self._seconds = line, seconds

    def __call__(self, text: str) -> None:
        limits.begin(self._seconds)
        self._line.send(("doing", text))

    def requests(self) -> Iterator[Any]:
        """What `Child.send` gives, one after the other, until the parent has ended.

        The limit of time is of each; none counts while there is nothing to do.
        """
        while True:
            limits.end()
            try:
                request = self._line.recv()
            except EOFError:
                return
            limits.begin(self._seconds)
            yield request

    def answer(self, value: object) -> None:
        """Give `Child.receive` its next value."""
        self._line.send(("answered", value))


def last_error(log: str) -> str:
    """What a child said went wrong last, in brackets behind a space; "" where it said nothing.

    Keras names the layer on the line of the error, and what is wrong, in bold, on the next one.
    """
    plain = (re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in log.splitlines())
    lines = [line for line in plain if line and not NO_GPU.search(line)]
    found = next((place for place in reversed(range(len(lines))) if "Error" in lines[place]), None)
    if found is None:
        return ""
    while KERAS in lines[found] and found + 1 < len(lines):
        found += 1
    return f" ({lines[found][:300].rstrip('.:')})"


def _end(
    parent: int, process: BaseProcess, line: Connection, folder: tempfile.TemporaryDirectory[str]
) -> None:
    if os.getpid() != parent:  # a fork has the objects, too
        return
    process.kill()
    with contextlib.suppress(OSError):  # the group of the child: all that it started
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    line.close()
    folder.cleanup()


def _of_fork_server(
    work: tuple[object, ...], tensorflow: bool
) -> tuple[Connection, Connection, Any]:
    """A process that begins as a new Python does, and both ends of the line to it."""
    context: Any = multiprocessing.get_context("forkserver")
    # the first child's, when it starts; without "__main__", whose mistakes would end it
    needed = tensorflow and "tensorflow" in sys.modules
    once = ["edgeline.runtimes.quiet_tensorflow"] if needed else []
    context.set_forkserver_preload([__name__, *once])
    while True:
        ours, line = context.Pipe()
        environment = dict(os.environ)  # the fork server has that in which it was started
        process = context.Process(target=_run, args=(line, None, environment, *work))
        try:
            process.start()
            return ours, line, process
        except ChildProcessError:  # this process is a fork of the one whose fork server it knows
            context = multiprocessing.get_context("spawn")


def _run(
    line: Connection,
    ours: Connection | None,
    environment: dict[str, str] | None,
    log: Path,
    time_limit: float,
    memory: int,
    function: Callable[..., object],
    arguments: Any,
) -> None:
    """What the child does.

    `ours` is the parent's end, which a fork holds as well; `environment` is the parent's, where the
    child is not its fork.
    """
    import traceback

    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    if ours is not None:
        ours.close()  # else the end of the parent would not be seen
    os.setsid()  # a group of its own
    _thread.start_new_thread(_end_with, (os.getppid(),))  # not counted: it keeps no forks away
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)  # the converter, being C++, prints to the descriptors
    os.dup2(stream, 2)
    try:
        limits.begin(time_limit)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        limits.memory(memory + BEYOND)
        result = function(Parent(line, time_limit), *arguments)
        limits.end()
        line.send(("returned", result))
    except EdgelineError as error:
        kind = "usage" if isinstance(error, UsageError) else "refused"
        line.send((kind, str(error)))
    except Exception:
        line.send(("raised", traceback.format_exc()))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # TensorFlow's threads need no farewell


def _end_with(parent: int) -> None:
    """End this process and all that it started once its parent was killed, which says nothing."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


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
