"""onnx2tf in another Python: it needs packages in versions that cannot stand beside TensorFlow.

Its Python is the one that `PYTHON` names, else the one that the command `onnx2tf` on the path is
started by. It runs below a child of ours (see `edgeline.runtimes.child`), whose limits of memory
and time hold for it, too, with no variables of this process, and in a folder of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.runtimes import child, limits

PYTHON, COMMAND = "EDGELINE_ONNX2TF_PYTHON", "onnx2tf"
OLDEST = (2, 6, 9)  # the first that converts without TensorFlow what its own tests hold
PROGRAM = Path(__file__).with_name("onnx2tf_process.py")
WAY_OUT = "export it otherwise, or leave to_litert out and take it as the ONNX model that it is"


@dataclass(frozen=True)
class Attempt:
    """One way to convert a file; see `onnx2tf_process` for the fields."""

    model: Path
    keep: tuple[str, ...]
    simplify: bool = True
    unroll: bool = False


class Converter:
    """A running onnx2tf.

    Attributes:
        version: of it, such as "2.6.9".
    """

    def __init__(self, running: child.Child, folder: Path) -> None:
        self._running, self._folder, self._count = running, folder, 0
        self._done: dict[Attempt, Path | NotConvertedError] = {}
        self.version = str(self._answer()["version"])
        found = tuple(int(part) for part in re.findall(r"(?:^|\.)(\d+)", self.version)[:3])
        if found < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise EdgelineError(
                f"onnx2tf is {self.version}, and {oldest} or newer is needed: {install()}."
            )

    def convert(self, attempt: Attempt) -> Path:
        """The LiteRT file that onnx2tf makes of an ONNX file, in 32-bit floats.

        Raises:
            EdgelineError: it ended, or took more than it may.
            NotConvertedError: it does not convert the file so.
        """
        if attempt not in self._done:
            self._done[attempt] = self._convert(attempt)
        found = self._done[attempt]
        if isinstance(found, NotConvertedError):
            raise found
        return found

    def _convert(self, attempt: Attempt) -> Path | NotConvertedError:
        self._count += 1
        folder = self._folder / f"attempt-{self._count}"
        self._running.send(
            {
                "model": str(attempt.model),
                "folder": str(folder),
                "keep": list(attempt.keep),
                "simplify": attempt.simplify,
                "unroll": attempt.unroll,
            }
        )
        answer = self._answer()
        if not (file := Path(answer.get("file", ""))).is_file():
            return NotConvertedError(str(answer.get("error", "it wrote nothing")))
        return file

    def _answer(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._running.receive()
        except child.ChildError as error:
            raise EdgelineError(
                f"onnx2tf {error.how} while it was {error.doing}{child.last_error(error.log)}: "
                f"{WAY_OUT}."
            ) from error
        if how := found.get("ended"):
            raise EdgelineError(f"onnx2tf {how}: {WAY_OUT}.")
        return found


class NotConvertedError(Exception):
    """onnx2tf does not convert a file in the way that it was asked to; with its reason."""


def python() -> str:
    """The Python that has onnx2tf.

    Raises:
        EdgelineError: none is named, and none is found.
    """
    if named := os.environ.get(PYTHON, ""):
        given = Path(shutil.which(named) or named).absolute()  # it is started elsewhere
        return str(given)
    if (command := shutil.which(COMMAND)) and (found := _started_by(Path(command))):
        return found
    raise EdgelineError(
        f"An ONNX file is converted to LiteRT by onnx2tf in a Python of its own, and {PYTHON} is "
        f"not set: {install()}, or leave to_litert out and take the file as the ONNX model that it "
        "is."
    )


def install() -> str:
    """What to type so that there is one, without a full stop."""
    oldest = ".".join(map(str, OLDEST))
    return (
        f"python3.12 -m venv ENV && ENV/bin/pip install onnx2tf=={oldest}, then set {PYTHON} to "
        "ENV/bin/python"
    )


@contextmanager
def started(model: Path, folder: Path) -> Iterator[Converter]:
    """onnx2tf for one ONNX file, whose size its limits grow with; it is ended in the end.

    Args:
        folder: where it may write.

    Raises:
        EdgelineError: there is none, it does not start, or is older than `OLDEST`.
    """
    running = child.Child(
        _run, python(), str(folder), memory=limits.converter_room(model), tensorflow=False
    )
    try:
        yield Converter(running, folder)
    finally:
        running.end()


def _started_by(command: Path) -> str:
    """The Python that a script of pip's or uv's is started by; "" where it names none.

    Its first line is `#!PYTHON` or `#!/usr/bin/env PYTHON`; where the path is too long for that,
    `#!/bin/sh`, and the second line is `'''exec' "PYTHON" "$0" "$@"`.
    """
    lines = []
    with contextlib.suppress(OSError), open(command, "rb") as stream:
        lines = [os.fsdecode(stream.readline(4096)).strip() for _ in range(2)]
    if not lines or not lines[0].startswith("#!"):
        return ""
    started = lines[0][2:].strip()
    program, *given = started.split() or [""]
    if Path(program).name == "env":
        return shutil.which(given[-1]) or "" if given else ""
    if Path(program).name == "sh":
        found = re.match(r"""'''exec' "?(.+?)"? "\$0\"""", lines[1])
        return found[1] if found else ""
    return started


def _run(parent: child.Parent, python: str, folder: str) -> None:
    """What the child does: hand on what it is asked, and say how the program ended."""
    parent("starting")
    seconds = int(limits.model_time())
    try:
        process = subprocess.Popen(
            [python, "-I", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env=_variables(folder),
            text=True,
        )
    except OSError as error:
        raise EdgelineError(
            f"{PYTHON} is {python}, which does not start ({error.strerror}): {install()}."
        ) from error
    assert process.stdin and process.stdout
    first = json.loads(process.stdout.readline() or "{}")
    if "version" not in first:
        reason = first.get("error", "it ended at once")
        raise EdgelineError(f"{python} has no onnx2tf ({reason}): {install()}.")
    parent.answer(first)
    for request in parent.requests():
        with contextlib.suppress(OSError):  # it has ended: the answer says how
            _limit(process.pid, seconds)
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        parent.answer(
            json.loads(line) if line.endswith("\n") else {"ended": _how(process, seconds)}
        )


def _variables(folder: str) -> dict[str, str]:
    """None of this process's but where programs are: what converts anybody's file has no keys."""
    return {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"}


def _limit(pid: int, seconds: int) -> None:
    """Let a process use so many seconds of a core more; the kernel ends it beyond."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    used = sum(map(int, ticks)) // os.sysconf("SC_CLK_TCK")
    _, most = resource.prlimit(pid, resource.RLIMIT_CPU)
    resource.prlimit(pid, resource.RLIMIT_CPU, (used + seconds + 1, most))


def _how(process: subprocess.Popen[str], seconds: int) -> str:
    code = process.wait()
    if code == -signal.SIGXCPU:
        return f"exceeded {seconds} s of a core ({limits.TIME_VARIABLE} allows more)"
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
