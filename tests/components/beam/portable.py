"""Beam's portable runner and its workers as processes: Prism, and a pool that sees no task's disk.

The pool is what stands beside each of Flink's or Spark's workers in a cluster. It runs in a mount
namespace of its own, in which the tasks' folder is empty, and in another working folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", "~/.cache/edgeline-tests")).expanduser()
PRISM = CACHE / "bin" / "prism"
BUILD = Path(__file__).with_name("build_prism.sh")
HARNESS = "from apache_beam.runners.worker.sdk_worker import SdkHarness"
HIDING = """
mkdir -p "$1"; echo secret > "$1/seen-from-outside"
exec unshare --mount sh -ec '
    mount -t tmpfs none "$1"; test ! -e "$1/seen-from-outside"; shift; exec "$@"
' hide "$@"
"""


@dataclass(frozen=True)
class Portable:
    """A running Prism and a pool of workers; `hidden` is what the workers do not see."""

    endpoint: str
    pool_endpoint: str
    pool: subprocess.Popen[bytes]
    log: Path
    hidden: Path

    @property
    def options(self) -> list[str]:
        """For `beam_options`, with the pool's port, which is no fixed one here."""
        return [
            f"--job_endpoint={self.endpoint}",
            "--environment_type=EXTERNAL",
            f"--environment_config={self.pool_endpoint}",
        ]

    def workers(self) -> list[int]:
        """The processes of the workers that run now."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                    if int(parent) == self.pool.pid and HARNESS in (entry / "cmdline").read_text():
                        found.append(int(entry.name))
        return found


@contextlib.contextmanager
def running(folder: Path, hidden: Path, environment: Mapping[str, str]) -> Iterator[Portable]:
    """Both, on free ports.

    Args:
        folder: for their log, and the workers' working folder.
        hidden: the folder that the workers see empty.
        environment: variables of the workers: where the store is, and their keys.
    """
    built()
    if not can_hide():
        pytest.skip("NOT TESTED: Beam's workers apart from the task: no mount namespace is allowed")
    endpoint, pool_endpoint = (f"127.0.0.1:{free_port()}" for _ in range(2))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(parents=True)
    log = folder / "log"
    clean = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(elsewhere),
        "TMPDIR": str(elsewhere),
        "PYTHONPATH": str(Path(__file__).parent),  # works.py
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **environment,
    }
    port = pool_endpoint.rpartition(":")[2]
    pool_command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
    hiding = ["sh", "-ec", HIDING, "hide", hidden, *pool_command, f"--service_port={port}"]
    prism = [PRISM, "--job_port", endpoint.rpartition(":")[2], "--serve_http=false"]
    with open(log, "ab") as told:
        processes = [
            subprocess.Popen(hiding, cwd=elsewhere, env=clean, stdout=told, stderr=told),
            subprocess.Popen(prism, cwd=elsewhere, stdout=told, stderr=told),
        ]
    try:
        for process, place in zip(processes, (pool_endpoint, endpoint), strict=True):
            _wait(place, process, log)
        yield Portable(endpoint, pool_endpoint, processes[0], log, hidden)
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT if process is processes[0] else signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def built() -> None:
    """Prism's program; without it the test is skipped by name."""
    if not shutil.which("go") and not PRISM.exists():
        pytest.skip("NOT TESTED: Beam's portable runner: there is no Go to build Prism")
    if subprocess.run([BUILD], stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
        pytest.skip(f"NOT TESTED: Beam's portable runner: {BUILD.name} failed")


def can_hide() -> bool:
    """Whether this user may have a mount namespace with something else in a folder's place."""
    trial = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    try:
        return subprocess.run(trial, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(place: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, _, port = place.rpartition(":")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"nothing answers at {place}: {log.read_text()[-2000:]}")
