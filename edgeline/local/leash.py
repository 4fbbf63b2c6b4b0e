"""A task's process on a leash: it ends when the run that started it is gone, also by kill -9.

    python -S leash.py COMMAND ...

The command runs in a session of its own. When this process' stdin closes, since whoever held its
other end is gone, or when it is interrupted, the whole session is asked to end, and made to after
five seconds. It imports nothing of edgeline, and ends as the command did.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys

PATIENCE = 5.0  # seconds that a task has to clean up
LOOK = 0.05  # seconds between two looks whether it has ended


def main() -> int:
    """The exit code of the command; a signal that ended it ends this process, too."""
    asked = []  # to end; noted from before the command is there, so that none is left behind
    signal.signal(signal.SIGINT, lambda *_: asked.append(True))
    task = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while task.poll() is None:
            if selector.select(LOOK) or asked:  # nobody holds stdin any more
                _end(task)
    if task.returncode < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no other handler
            signal.signal(-task.returncode, signal.SIG_DFL)
        os.kill(os.getpid(), -task.returncode)
    return task.returncode


def _end(task: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(task.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            task.wait(PATIENCE)
        os.killpg(task.pid, signal.SIGKILL)  # what it started, too
    task.wait()


if __name__ == "__main__":
    sys.exit(main())
