"""Warm processes: tasks that share an import share its cost.

A chain of processes, each forked from the one before with more imported:
`kfp` and plotting, then TensorFlow, tf.Transform, and Beam with TFMA. Each listens on a socket
and forks once for every task, so a task starts with its imports done, in a process of its own,
and its memory is given back when it ends. The imports go on while the first tasks, which need
none of them, run.

Nothing but importing happens before a fork: TensorFlow starts its threads at its first
operation, and a fork after that would hang. Importing tf.Transform switches TensorFlow to
Keras 2, so tasks that train are forked from the process before it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.kubeflow import face, handed, sdk
from edgeline.kubeflow.task import EXECUTOR

STAGES: dict[str, tuple[str, ...]] = {
    "light": (
        "kfp.dsl.executor",
        "pyarrow.parquet",
        "pyarrow.compute",
        "matplotlib.figure",
        "jinja2",
    ),
    "tensorflow": ("tensorflow", "keras"),
    "transform": ("tensorflow_transform",),
    "beam": ("apache_beam", "tensorflow_transform.beam", "tensorflow_model_analysis"),
}
# by stage what it is not to import, though it is installed: keras has it for notebooks alone, and
# each task would hold 20 MB for it
LEFT_OUT = {"tensorflow": "IPython"}
COMPONENT_STAGE = {  # by the name of the task, which kfp writes with dashes
    "settings": "light",
    "plan": "light",
    "ingest": "light",
    "validate": "light",
    "acceptance": "light",
    "choose": "light",
    "publish": "light",
    "publish-candidates": "light",
    "serve": "light",
    "notify": "light",
    "check": "light",
    "model-card": "light",
    "import-model": "tensorflow",
    "train": "tensorflow",
    "train-candidate": "tensorflow",
    "convert": "tensorflow",
    "compile": "tensorflow",
    "verify": "tensorflow",
    "transform": "transform",
    "analyze": "beam",
}
LOST_AFTER = 0.1  # seconds between two looks whether the run still wants the task


@dataclass(frozen=True)
class EndedTask:
    """How a task's process ended.

    code: the exit code (negative: the signal); peak_memory: in bytes; cpu_seconds: of all its
    processors, 0 where it is not known.
    """

    code: int
    peak_memory: int
    cpu_seconds: float = 0.0


class Warm:
    """The chain of warm processes of one run; a context manager."""

    def __init__(self, stages: Sequence[str], log: Path) -> None:
        """Start importing what the tasks will need.

        Args:
            stages: those of the tasks to come; the chain ends at the last of them.
            log: a file for what the imports print.
        """
        self._log = log
        order = list(STAGES)
        self.stages = order[: 1 + max((order.index(stage) for stage in stages), default=-1)]
        self._sockets = tempfile.TemporaryDirectory(prefix="edgeline-warm-", dir=_short_place())
        self._folder = tempfile.TemporaryDirectory(prefix="edgeline-tasks-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Warm:
        if self.stages:
            environment = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0", **os.environ}
            environment["TMPDIR"] = self._folder.name  # what a killed task leaves goes with it
            environment[sdk.SWITCH] = "true"  # as in a cluster: 40 MB less of kfp in each task
            with open(self._log, "ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__, self._sockets.name, *self.stages],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # Ctrl-C goes to the run, which ends the tasks itself
                )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._folder.cleanup()
        self._sockets.cleanup()

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
                of another version of it.
        """
        source, arguments = _source_and_arguments(command)
        request = {"source": source, "arguments": arguments, "env": env, "log": str(log)}
        with socket.socket(socket.AF_UNIX) as connection:
            self._connect(connection, stage)
            connection.sendall(json.dumps(request).encode() + b"\n")
            try:
                answer = connection.makefile().readline()
            except BaseException:  # Ctrl-C: the supervisor ends the task and closes
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(8)
                with contextlib.suppress(OSError):
                    connection.recv(1)
                raise
        if not answer:
            return EndedTask(-signal.SIGKILL, 0)
        return EndedTask(**json.loads(answer))

    def _connect(self, connection: socket.socket, stage: str) -> None:
        assert self._process is not None
        while True:
            try:
                return connection.connect(f"{self._sockets.name}/{stage}")
            except (FileNotFoundError, ConnectionRefusedError):
                if self._process.poll() is not None:
                    raise RuntimeError(f"the warm process ended while importing {stage}") from None
                time.sleep(0.02)


def is_supported() -> bool:
    """Whether a process may fork after its imports here (not on macOS or Windows)."""
    return sys.platform == "linux"


def _short_place() -> str | None:
    """Where sockets may lie: their paths have at most 103 bytes on every system."""
    return None if len(os.fsencode(tempfile.gettempdir())) < 64 else "/tmp"


def _source_and_arguments(command: Sequence[str]) -> tuple[str, list[str]]:
    start = command.index("--executor_input")
    arguments = list(command[start:])
    named = face.in_command(command)
    if named is None:
        return command[start - 1], arguments
    arguments[1] = json.dumps(handed.apart(json.loads(arguments[1]), named))
    return named.source(), arguments


def _serve(folder: str, stages: Sequence[str]) -> None:
    """Import a stage, start the next in a fork, and run tasks for ever."""
    gc.disable()  # nearly all that an import makes stays
    if left_out := LEFT_OUT.get(stages[0]):
        sys.modules[left_out] = None  # type: ignore[assignment]  # makes its import an ImportError
    for module in STAGES[stages[0]]:
        importlib.import_module(module)
    if left_out:
        del sys.modules[left_out]  # later stages and users' modules may import it
    gc.freeze()  # tasks share these pages, and do not look through them again and again
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/{stages[0]}")
        listener.listen()
        if len(stages) > 1 and os.fork() == 0:
            listener.close()
            _serve(folder, stages[1:])
            os._exit(0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the supervisors
        while True:
            readable, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in readable:  # closed: the run is gone
                os._exit(0)
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _supervise(connection)
                os._exit(0)
            connection.close()


def _supervise(connection: socket.socket) -> None:
    """Run one task in a fork, and tell the run how it ended; end it if the run is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.loads(connection.makefile().readline())
    task = os.fork()
    if task == 0:
        connection.close()
        _execute(request)
    while True:
        ended, status, usage = os.wait4(task, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            answer = {
                "code": code,
                "peak_memory": usage.ru_maxrss * 1024,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
            }
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(answer).encode() + b"\n")
            return
        gone, _, _ = select.select([connection], [], [], LOST_AFTER)
        if gone:
            _end(task)
            return


def _end(task: int) -> None:
    """Ask a task's process group to end, so that it can clean up; insist after five seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(task, signal.SIGINT)
        for _ in range(50):
            if os.waitpid(task, os.WNOHANG)[0]:
                return
            time.sleep(LOST_AFTER)
        os.killpg(task, signal.SIGKILL)
        os.waitpid(task, 0)


def _execute(request: dict[str, Any]) -> None:
    """Become the task: what kfp's container command does, in this process."""
    gc.enable()
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(request["env"])
    code = 1
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "ephemeral_component.py")
            path.write_text(request["source"])
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


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
