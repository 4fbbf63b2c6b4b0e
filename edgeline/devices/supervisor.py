"""What is started on the device: takes files from its input, measures in a child, leaves nothing.

One file that `ssh` hands to the device's Python, the standard library alone, for Python 3.7 and
later. Its input is a line of JSON (`files`: name, size and sha256 of each; `seconds`, `threads`,
`install`), the files' bytes, and then a byte every other second for as long as somebody waits.
Where these end, the connection is gone: the child is killed and the folder removed, as at the end.
Its output is one line, MARK and an object: what was found, or `fault` and `said`.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MARK = "edgeline-device-profile "
SILENCE = 30.0  # seconds without a byte, after which nobody waits any more
EVERY = 0.5  # seconds between two samples of the device
BEYOND = 600.0  # seconds for everything but the measurement itself
TRANSFER = 600  # seconds for the files to come
ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM)
LEAST_PYTHON = (3, 10)  # with which ai-edge-litert can be installed


class MeasuringError(Exception):
    """Why there is no measurement: its kind, and what was said."""


def main() -> dict[str, Any]:
    """Take the files, measure, remove everything.

    Raises:
        MeasuringError: there is no measurement.
    """
    given = sys.stdin.buffer
    signal.alarm(TRANSFER)
    order = json.loads(given.readline())
    folder = Path(tempfile.mkdtemp(prefix="edgeline-benchmark-"))
    try:
        for file in order["files"]:
            content = given.read(file["size"])
            if hashlib.sha256(content).hexdigest() != file["sha256"]:
                raise MeasuringError("lost", "the connection ended before all files had come")
            place = folder / file["name"]
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(content)
        signal.alarm(0)
        return measured(folder, order)
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def measured(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    """What the device is and what the child found, with what the device did meanwhile."""
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    import sensors  # type: ignore[import-not-found]  # came with the files

    until = time.monotonic() + order["seconds"] + BEYOND
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(folder))
    installed = provide(folder, order["install"], environment, until)
    samples: list[dict[str, Any]] = []
    load, firmware = os.getloadavg()[0], sensors.firmware_throttles()
    own, began = _own_seconds(), time.monotonic()
    command = [str(folder / "timed.py"), str(folder), str(order["seconds"]), str(order["threads"])]
    run(command, folder, environment, until, lambda: samples.append(sensors.sample()))
    samples.append(sensors.sample())
    spent, wall = _own_seconds() - own, time.monotonic() - began
    found: dict[str, Any] = json.loads((folder / "timed.json").read_text())
    during = [each for each in samples if found["since"] <= each["at"] <= found["until"]]
    others = (samples[-1]["busy"] - samples[0]["busy"] - spent) / wall
    return {
        "device": sensors.described(),
        "timed": found,
        "installed": installed,
        "load_before": load,
        "others_cores": max(0.0, others),
        "heat": sensors.heat(samples, firmware, sensors.firmware_throttles()),
        "power": sensors.power(during),
    }


def provide(folder: Path, wanted: list[str], environment: dict[str, str], until: float) -> bool:
    """See that there is an interpreter; where there is none, put one into the folder by pip.

    Returns:
        whether one was put there.

    Raises:
        MeasuringError: there is none, and it cannot be had.
    """
    question = "import timed, numpy; timed.interpreter()"
    environment["PYTHONPATH"] = str(folder)
    try:
        run(["-c", question], folder, environment, until, lambda: None)
        return False
    except MeasuringError as error:
        if error.args[0] != "failed":
            raise
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.version_info < LEAST_PYTHON:
        raise MeasuringError("interpreter", f"its Python is {version}")
    if subprocess.run([sys.executable, "-c", "import pip"], stderr=subprocess.DEVNULL).returncode:
        raise MeasuringError("interpreter", f"its Python {version} does not have pip")
    wheels = ["--no-index", "--find-links", str(folder / "wheels")]
    command = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-cache-dir", "--only-binary", ":all:", "--target", str(folder / "site")]
    command += wheels if (folder / "wheels").is_dir() else []
    try:
        run([*command, *wanted], folder, environment, until, lambda: None)
    except MeasuringError as error:
        if error.args[0] == "failed":
            raise MeasuringError("pip", error.args[1]) from error
        raise
    environment["PYTHONPATH"] = os.pathsep.join((str(folder), str(folder / "site")))
    return True


def run(
    arguments: list[str], folder: Path, environment: dict[str, str], until: float, tick: Any
) -> None:
    """Run Python in a group of its own for as long as somebody waits; `tick` every half second.

    Raises:
        MeasuringError: it failed, took too long, or nobody waits any more.
    """
    log = folder / "log"
    with open(str(log), "wb") as errors:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    try:
        heard = time.monotonic()
        while child.poll() is None:
            tick()
            ready, _, _ = select.select([0], [], [], EVERY)
            now = time.monotonic()
            if ready and not os.read(0, 4096):
                raise MeasuringError("lost", "the connection ended")
            heard = now if ready else heard
            if now > heard + SILENCE:
                raise MeasuringError("lost", f"nothing came for {SILENCE:.0f} seconds")
            if now > until:
                raise MeasuringError("slow", "it took too long")
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.returncode:
        lines = log.read_bytes().decode("utf-8", "replace").strip().splitlines()
        said = lines[-1] if lines else f"it ended with {child.returncode}"
        raise MeasuringError("failed", said[:500])


def _own_seconds() -> float:
    both = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in both)


def _end(number: int, _frame: Any) -> None:
    for each in ENDS:
        signal.signal(each, signal.SIG_IGN)  # what is being removed is removed
    raise MeasuringError("lost", f"signal {number} came")


if __name__ == "__main__":
    for sign in ENDS:
        signal.signal(sign, _end)
    try:
        answer = main()
    except MeasuringError as error:
        answer = {"fault": error.args[0], "said": error.args[1]}
    except Exception as error:  # of the device, such as a full disk: told there, in one line
        answer = {"fault": "device", "said": f"{type(error).__name__}: {error}"}
    sys.stdout.write("\n" + MARK + json.dumps(answer) + "\n")
