"""What a run uses: its tasks in forks of warm processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.kubeflow import face, handed
from edgeline.local.warm import messages, sets
from edgeline.local.warm.identity import for_task
from edgeline.local.warm.stages import up_to
from edgeline.local.warm.task import EndedTask

TRIES = 3  # sets, of which one may be killed and one have other code than there is now
PATIENCE = 8.0  # seconds for an interrupted task to end: more than the process beside it gives it
BEGINNING = 0.3  # seconds in which one may begin that has not yet


class Warm:
    """The warm processes of one run; a context manager."""

    def __init__(self, stages: Collection[str], log: Path) -> None:
        """Start importing what the tasks will need, or take what is there.

        Args:
            stages: those of the tasks to come; the chain ends at the last of them.
            log: a file for what the imports print, where other runs cannot share them.
        """
        self.stages = up_to(stages)
        self._log = log
        self._held: sets.Held | None = None
        self._taking = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="edgeline-tasks-")

    def __enter__(self) -> Warm:
        """Raises:
        UsageError: see `sets.seconds`.
        """
        if self.stages:
            self._held = sets.take(self.stages, self._log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._held.close()
        self._folder.cleanup()  # what a killed task has left goes with it

    def run(self, stage: str, command: Sequence[str], env: dict[str, str], log: Path) -> EndedTask:
        """Run kfp's executor in a fork of a stage, its output going to `log`.

        Args:
            stage: one of the stages given at the start.
            command: as kfp runs it in a container: a shell line, the component's
                source, and the executor's arguments; or one that names a face of edgeline's.
            env: environment variables beside those of the run.
            log: the file to append to.

        Raises:
            EdgelineError: it names a face that this installation does not have, or has settings
                of another version of it; or no process can be started for it.
        """
        source, arguments = _source_and_arguments(command)
        request = {
            "source": source,
            "arguments": arguments,
            "env": for_task(os.environ),
            "own": {"TMPDIR": self._folder.name, **env},
            "umask": _umask(),
        }
        text = json.dumps(request).encode() + b"\n"
        for _ in range(TRIES):
            held = self._held
            assert held is not None
            with self._asked(held, stage, log) as channel:
                ended = _ended(channel, text)
            if ended:
                return ended
            self._take_another(held)
        raise EdgelineError(
            f"The warm process {stage} was ended {TRIES} times before the task began: see "
            f"{self._held.log if self._held else self._log}, and whether the memory suffices."
        )

    @contextlib.contextmanager
    def _asked(self, held: sets.Held, stage: str, log: Path) -> Any:
        """The channel of a task that a warm process is asked for."""
        channel, other = socket.socketpair()
        with channel:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            with other, contextlib.suppress(OSError):  # it is gone: the channel ends at once
                files = (other.fileno(), output, folder)
                messages.send(held.connection, {"kind": "task", "stage": stage}, *files)
            os.close(output)
            os.close(folder)
            yield channel

    def _take_another(self, held: sets.Held) -> None:
        """Another set, instead of one that is gone or has other code than there is now."""
        with self._taking:
            if self._held is held:  # no other task was quicker
                self._held = sets.take(self.stages, self._log)
                held.close()


def _ended(channel: socket.socket, request: bytes) -> EndedTask | None:
    """How a task has ended; None where it did not begin, since its warm process is gone or has code
    of before.

    Raises:
        EdgelineError: it cannot begin.
    """
    answers = channel.makefile()
    begun: dict[str, Any] = {}
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            channel.sendall(request)
        begun = _line(answers)
        if failed := begun.get("failed"):
            raise EdgelineError(
                f"What the task needs could not be imported ({failed}): install what is missing, "
                "or repair it; `edgeline warm stop` ends the processes that tried."
            )
        if refused := begun.get("refused"):
            raise EdgelineError(f"{refused} End other programs, or raise the limit.")
        if "started" not in begun:
            return None
        ended = _line(answers)
    except BaseException:  # Ctrl-C: the process beside the task ends it and closes
        with contextlib.suppress(OSError):
            channel.shutdown(socket.SHUT_WR)
            channel.settimeout(PATIENCE if begun else BEGINNING)
            while channel.recv(1):  # it has just begun
                channel.settimeout(PATIENCE)
        raise
    return EndedTask(**ended) if ended else EndedTask(-signal.SIGKILL, 0)


def _line(answers: Any) -> dict[str, Any]:
    try:
        line = answers.readline()
    except ConnectionResetError:  # it was ended with what the run has sent unread
        line = ""
    found: dict[str, Any] = json.loads(line) if line else {}
    return found


def _source_and_arguments(command: Sequence[str]) -> tuple[str, list[str]]:
    start = command.index("--executor_input")
    arguments = list(command[start:])
    named = face.in_command(command)
    if named is None:
        return command[start - 1], arguments
    arguments[1] = json.dumps(handed.apart(json.loads(arguments[1]), named))
    return named.source(), arguments


def _umask() -> int:
    """Of this process; to set one and back would be seen by other threads."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "Umask":
                return int(value, 8)
    return 0o022
