"""Try a model in a process of its own: `python -m edgeline.server.trial PATH RUN_TIME`.

What kills that process spares the server.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from edgeline.errors import EdgelineError
from edgeline.server.loading import load, zeros
from edgeline.server.model import Instance

_KILLED = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_RUNS = 3


class KilledError(EdgelineError):
    """Somebody ended the trial, perhaps the system for want of memory: it says nothing."""


def run(path: Path, load_time: float, run_time: float) -> None:
    """Load a model in a child, warm it and check its recorded answers.

    Args:
        path: a bundle or a `.tflite` file.
        load_time: seconds that all of it may take.
        run_time: seconds that one run on zeros may take once warm; 0 for any.

    Raises:
        KilledError: the child was ended from outside.
        EdgelineError: the model crashes, is too slow, or see `loading.load`.
    """
    command = [sys.executable, "-m", "edgeline.server.trial", str(path), str(run_time)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=load_time, check=False)
    except subprocess.TimeoutExpired:
        raise EdgelineError(f"{path} took over {load_time:g} s to load and warm.") from None
    if ended.returncode > 0:
        said = ended.stderr.decode(errors="replace").strip().splitlines()
        raise EdgelineError(said[-1] if said else f"{path} cannot be loaded.")
    if -ended.returncode in _KILLED:
        raise KilledError(f"The trial of {path} was ended by signal {-ended.returncode}.")
    if ended.returncode < 0:
        raise EdgelineError(
            f"{path} crashes the runtime (signal {-ended.returncode}): convert it again."
        )


def main(path: str, run_time: str) -> int:
    """0 if the model works; else 1, and why as the last line of stderr."""
    try:
        (instance,) = load(Path(path), "trial", 1, instances=1, threads=1)
        limit = float(run_time)
        if limit and (seconds := _time(instance)) > limit:
            raise EdgelineError(
                f"{path} is too slow: a run takes {seconds:.3g} s, and {limit:g} s is allowed."
            )
    except EdgelineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _time(instance: Instance) -> float:
    """Seconds of the quickest of some runs: what is measured beside others is theirs, too."""
    arrays, found = zeros(instance.description.signature), []
    for _ in range(_RUNS):
        started = perf_counter()
        instance.run(arrays)
        found.append(perf_counter() - started)
    return min(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
