"""A task ends with its run, whatever ends that, and tells how it ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

LEASH = Path(__file__).parents[2] / "edgeline" / "local" / "leash.py"
# tells that it runs, and when it is asked to end; its own child holds the same stdout
WAITS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
try:
    print("runs", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("asked", flush=True)
"""


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-S", str(LEASH), sys.executable, "-S", "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "ended"),
    [("", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)],
)
def test_it_ends_as_its_command_does(code: str, ended: int) -> None:
    process = start(code)
    assert process.wait(60) == ended
    process.communicate()


@pytest.mark.parametrize("how", ["gone", "interrupted"])
def test_all_that_a_task_started_ends_with_its_run(how: str) -> None:
    process = start(WAITS)
    assert process.stdout and process.stdin
    assert process.stdout.readline() == "runs\n"
    if how == "gone":
        process.stdin.close()
    else:
        process.send_signal(signal.SIGINT)
    assert process.stdout.read() == "asked\n"  # to its end: nobody holds it any more
    assert process.wait(60) == 0
    process.stdin.close()
