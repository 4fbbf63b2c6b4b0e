"""The program on the device where nothing ends it from outside: it ends, and leaves nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeline.devices import secure_shell, supervisor

PROGRAM = Path(supervisor.__file__).read_text()
FILES = {
    "sensors.py": Path(supervisor.__file__).with_name("sensors.py").read_bytes(),
    # stands for what hangs: it takes no model
    "timed.py": b"import sys, time\ndef interpreter(): pass\nif sys.argv[1:]: time.sleep(600)\n",
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """The program in a process, with its files, under other limits; its folders are in tmp_path."""
    running: list[subprocess.Popen[bytes]] = []

    def run(sent: dict[str, bytes] = FILES, **limits: float) -> subprocess.Popen[bytes]:
        source = PROGRAM
        for name, value in limits.items():
            before = f"\n{name} = {getattr(supervisor, name)}"
            assert source.count(before) == 1
            source = source.replace(before, f"\n{name} = {value}")
        order: dict[str, Any] = {"seconds": 1.0, "threads": 1, "install": [], "files": []}
        for name, content in FILES.items():
            digest = hashlib.sha256(content).hexdigest()
            order["files"].append({"name": name, "size": len(content), "sha256": digest})
        process = subprocess.Popen(
            [sys.executable, "-c", secure_shell.BOOTSTRAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        running.append(process)
        assert process.stdin is not None
        process.stdin.write(b"%d\n%s" % (len(source), source.encode()))
        process.stdin.write(json.dumps(order).encode() + b"\n" + b"".join(sent.values()))
        process.stdin.flush()
        return process

    yield run
    for process in running:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):  # of what was not read
                stream.close()


def told(process: subprocess.Popen[bytes]) -> dict[str, str]:
    assert process.stdout is not None
    return json.loads(process.stdout.read().decode().rpartition(supervisor.MARK)[2])


def test_a_connection_that_falls_silent_ends_it(start, tmp_path):
    found = told(start(SILENCE=0.2))
    assert (found["fault"], found["said"]) == ("lost", "nothing came for 0 seconds")
    assert not list(tmp_path.iterdir())


def test_a_measurement_that_hangs_ends(start, tmp_path):
    assert told(start(BEYOND=0.5))["fault"] == "slow"
    assert not list(tmp_path.iterdir())


def test_files_that_do_not_come_end_it(start, tmp_path):
    part = {"sensors.py": FILES["sensors.py"][:-1]}
    process = start(part)
    process.stdin.close()
    assert told(process)["said"] == "the connection ended before all files had come"
    assert told(start(part, TRANSFER=1))["said"] == f"signal {signal.SIGALRM.value} came"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(start, tmp_path, sign):
    process = start({})  # waits for its files
    while not list(tmp_path.iterdir()):
        assert process.poll() is None
    process.send_signal(sign)
    assert told(process) == {"fault": "lost", "said": f"signal {sign.value} came"}
    assert not list(tmp_path.iterdir())
