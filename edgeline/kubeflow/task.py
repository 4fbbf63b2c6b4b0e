"""The process of a component's task in a pod: kfp's executor, and why it failed where people look.

    python3 -m edgeline.kubeflow.task --face_digest=DIGEST --function_to_execute NAME ...
    python3 -m edgeline.kubeflow.task --component_module_path FILE --function_to_execute NAME ...

The first runs a face of this installation (`edgeline.kubeflow.face`), the second a file, as kfp's
own module does.

Kubeflow's page shows the first lines of a failed task's log, which are the executor's own; the
reason stands near its end. So what a task prints is held for its first half minute: if it fails in
that time, as nearly all that is refused does, its reason comes before it. Afterwards the log is
live, and the reason comes last alone. It is also the pod's termination message, which
`kubectl describe pod`, the exit handler `notify` and whoever watches pods read.

The log is held by a process of its own: what a crash leaves is passed on, and so is what children
print.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, first_line
from edgeline.kubeflow import face, handed, inputs, outputs, tracked

HOLD = 30.0  # seconds
MOST_HELD = 1 << 22  # bytes, after which the log is live
CHUNK = 1 << 16
LAST = 5.0  # seconds at most to pass on what there is
TERMINATION_LOG = Path("/dev/termination-log")  # where Kubernetes looks, by default
MOST_MESSAGE = 4096  # bytes that the kubelet reads

GIVEN = "--executor_input"
MODULE = "edgeline.kubeflow.task"
EXECUTOR = "kfp.dsl.executor_main"  # in the command of a component that is a Python function
OURS = "from edgeline.components."  # in the source of what runs in edgeline's images


def container_of(pipeline: dict[str, Any], component: dict[str, Any]) -> dict[str, Any]:
    """The container that a component of a compiled pipeline runs; empty where it runs none."""
    executors = pipeline.get("deploymentSpec", {}).get("executors", {})
    found: dict[str, Any] = executors.get(component.get("executorLabel"), {}).get("container", {})
    return found


def start_here(pipeline: dict[str, Any]) -> None:
    """Make edgeline's components in a compiled pipeline start as this module; others stay.

    A face of this installation is named, what a user wrote around edgeline's workers is embedded.

    Args:
        pipeline: KFP's IR, which is changed.
    """
    with_settings = _executors_with_settings(pipeline)
    for label, executor in pipeline.get("deploymentSpec", {}).get("executors", {}).items():
        container = executor.get("container", {})
        command = container.get("command", [])
        if named := face.embedded(container):
            word = face.DIGEST_WITH_SETTINGS if label in with_settings else face.DIGEST
            command[:] = ["python3", "-m", MODULE, word + named.digest]
        elif any(OURS in part for part in command):
            command[:] = [part.replace(EXECUTOR, MODULE) for part in command]


def _executors_with_settings(pipeline: dict[str, Any]) -> set[str]:
    """The labels of executors of tasks that are given an object of `settings`."""
    components = pipeline.get("components", {})
    return {
        str(components.get(task["componentRef"]["name"], {}).get("executorLabel"))
        for holder in (pipeline.get("root", {}), *components.values())
        for task in holder.get("dag", {}).get("tasks", {}).values()
        if handed.PARAMETER in task.get("inputs", {}).get("parameters", {})
    }


def main() -> None:
    """Run kfp's executor with this process's arguments."""
    os.environ["_KFP_RUNTIME"] = "true"  # which kfp's own command sets: imports less of kfp
    with telling(), _component(sys.argv):
        given = {}
        if GIVEN in sys.argv[:-1]:
            place = sys.argv.index(GIVEN) + 1
            given = json.loads(sys.argv[place])
            inputs.check(given)
            if named := face.in_command(sys.argv):
                sys.argv[place] = json.dumps(handed.apart(given, named))
        from kfp.dsl.executor_main import executor_main

        executor_main()
        outputs.shorten(given)
        tracked.tell(given)
        tracked.register(given)


@contextlib.contextmanager
def _component(arguments: list[str]) -> Iterator[None]:
    """The face that the arguments name, in a file that they name meanwhile, too."""
    named = face.in_command(arguments)
    if named is None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "ephemeral_component.py")  # as kfp's own command calls it
        file.write_text(named.source(), "utf-8")
        arguments += ["--component_module_path", str(file)]
        yield


@contextlib.contextmanager
def telling(hold: float = HOLD, termination_log: Path = TERMINATION_LOG) -> Iterator[None]:
    """Say why the block failed first and last in what it prints, and in the termination message.

    Standard output and error are one stream meanwhile. It forks: begin it before threads.

    Args:
        hold: seconds for which the log is held.
        termination_log: a file; where it is not there or may not be written, nothing is.
    """
    with _held(hold) as tell:
        try:
            yield
        except BaseException as error:
            if isinstance(error, SystemExit) and not error.code:
                raise
            sentence = reason(error)
            with contextlib.suppress(OSError):
                if termination_log.exists():
                    termination_log.write_bytes(sentence.encode()[:MOST_MESSAGE])
            sys.excepthook(*sys.exc_info())
            tell(sentence)
            raise SystemExit(_code(error)) from None


def reason(error: BaseException) -> str:
    """What an error says in one line; of one that is not edgeline's with its kind."""
    if isinstance(error, EdgelineError):
        return " ".join(str(error).split())
    kind = type(error).__name__
    said = first_line(error)
    return kind if said == kind else f"{kind}: {said}"


def _code(error: BaseException) -> int:
    code = error.code if isinstance(error, SystemExit) else 1
    return code if isinstance(code, int) else 1


@contextlib.contextmanager
def _held(hold: float) -> Iterator[Callable[[str], None]]:
    """Hold what is printed; gives what says a sentence first and last."""
    log, printed = os.pipe()
    told, tell = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    holder = os.fork()
    if holder == 0:
        os.close(printed)
        os.close(tell)
        try:
            _pass_on(log, told, 1, hold)
        finally:
            os._exit(0)
    os.close(log)
    os.close(told)
    kept = os.dup(1), os.dup(2)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    os.close(printed)
    os.set_inheritable(tell, False)
    try:
        yield lambda sentence: _write(tell, sentence.encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in enumerate(kept, 1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(tell)  # even where a child still prints
        os.waitpid(holder, 0)


def _pass_on(log: int, told: int, out: int, hold: float) -> None:
    """What comes from `log` to `out`: held for a while, with the sentence from `told` around it."""
    held: bytearray | None = bytearray()
    until = time.monotonic() + hold
    sentence = bytearray()
    os.set_blocking(log, False)
    with selectors.DefaultSelector() as ready:
        ready.register(log, selectors.EVENT_READ)
        ready.register(told, selectors.EVENT_READ)
        ended = False
        while not ended:
            wait = None if held is None else max(0.0, until - time.monotonic())
            events = {key.fd for key, _ in ready.select(wait)}
            if told in events:
                said = os.read(told, CHUNK)
                sentence += said
                ended = not said
            if log in events or ended:
                last = time.monotonic() + LAST  # a child may go on printing
                while (piece := _read(log)) and time.monotonic() < last:
                    if held is None:
                        _write(out, piece)
                    else:
                        held += piece
                if piece == b"" and not ended:  # the task crashed, and its children ended
                    ready.unregister(log)
            late = time.monotonic() >= until or len(held or b"") > MOST_HELD
            if held is not None and late and not ended:
                _write(out, bytes(held))
                held = None
    line = b"Failed: " + bytes(sentence) + b"\n" if sentence else b""
    _write(out, line + bytes(held) if held is not None else b"")
    _write(out, line)


def _read(descriptor: int) -> bytes | None:
    """What is there now: empty at the end, None before more comes."""
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return None


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


if __name__ == "__main__":
    main()
