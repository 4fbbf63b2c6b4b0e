"""A run's process, and what has become of it, whoever is there to see it.

    python supervising.py LOCK SECONDS FOLDER COMMAND ...

The descriptor LOCK, which is locked, is the command's, too: who finds the lock taken knows that the
run goes on, even where this process is gone. What the command writes goes to `log.txt` in FOLDER,
and its exit code to `exit`, by a rename. After SECONDS the command's session is asked to end, then
made to. It imports nothing of edgeline.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

PATIENCE = 30.0  # seconds that a run has to clean up
LATE = 124  # the exit code of what took too long, as timeout(1) has it


def main(lock: str, seconds: str, folder: str, *command: str) -> int:
    with open(os.path.join(folder, "log.txt"), "ab") as log:  # noqa: PTH118
        run = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(int(lock),),
            start_new_session=True,
        )
        try:
            code = run.wait(float(seconds))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    run.wait(PATIENCE)
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            code = LATE
    draft = os.path.join(folder, "exit.partial")  # noqa: PTH118
    with open(draft, "w", encoding="ascii") as stream:
        stream.write(str(code))
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(draft, os.path.join(folder, "exit"))  # noqa: PTH105, PTH118
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
