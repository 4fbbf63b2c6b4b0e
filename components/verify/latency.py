"""Latency and memory of an edge model in a process of its own.

The process imports numpy and the interpreter and nothing else, so that its memory is what a
device needs, and a model that crashes the interpreter ends that process and not the caller's:
`python -m edgeline.components.verify.latency MODEL TEST_VECTORS RUNTIME`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgeline.errors import EdgelineError
from edgeline.runtimes import limits
from edgeline.runtimes.interpreter import CrashError

CHILD = [sys.executable, "-m", "edgeline.components.verify.latency"]
WARM_UP, RUNS, SECONDS = 50, 2000, 1.0
LIMIT_SECONDS = 120  # of a core
SMALLER = "use a smaller model"


@dataclass(frozen=True)
class Latency:
    """Milliseconds and bytes of one model on this machine, one thread, one row at a time.

    Attributes:
        load_ms: from the file to the first answer.
        p50_ms, p90_ms, p99_ms: a call of the bare interpreter after warm-up.
        quantiles_ms: the 0th to the 100th percentile.
        runs: calls measured.
        peak_bytes: the process's largest resident memory, None where the system does not say.
        growth_bytes: of it, what loading and running the model added.
    """

    load_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    quantiles_ms: tuple[float, ...]
    runs: int
    peak_bytes: int | None
    growth_bytes: int | None


def measure(model: str | Path, vectors: str | Path, runtime: str = "litert") -> Latency:
    """Load a model in a fresh process and time it on the rows of some test vectors.

    `model` and `runtime` are as in `runtimes.load`.

    Raises:
        EdgelineError: the model cannot be loaded or fails on these rows.
        CrashError: it crashes the interpreter, or takes too much memory or more than
            `LIMIT_SECONDS` of a core.
    """
    done = subprocess.run(
        [*CHILD, str(model), str(vectors), runtime],
        capture_output=True,
        text=True,
        errors="replace",
    )
    if limit := limits.exceeded(done.returncode, LIMIT_SECONDS):
        raise CrashError(model, f"gave no answer in {limit}", way_out=SMALLER)
    if done.returncode and limits.lacked_memory(done.stderr):
        most = limits.room(Path(model)) + limits.ARROW
        raise CrashError(model, limits.too_much(most), way_out=SMALLER)
    if done.returncode < 0:
        raise CrashError(model, f"crashed the interpreter ({signal_name(done.returncode)})")
    if done.returncode:
        raise EdgelineError(last_line(done.stderr))
    fields = json.loads(done.stdout)
    return Latency(**{**fields, "quantiles_ms": tuple(fields["quantiles_ms"])})


def signal_name(returncode: int) -> str:
    """The signal that ended a process, for example SIGSEGV."""
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def last_line(text: str) -> str:
    """The last line of a process's stderr: its error."""
    return (text.strip().splitlines() or ["The interpreter process failed without a word."])[-1]


def main(model: str, vectors: str, runtime: str) -> Latency:
    """What the child process does, which prints it as JSON."""
    from edgeline.artifacts.vectors import read
    from edgeline.components.verify.runtimes import load

    limits.begin(LIMIT_SECONDS)
    limits.memory(limits.room(Path(model)) + limits.ARROW)
    started, before = time.perf_counter(), _memory("VmRSS")
    edge_model = load(model, runtime)
    elsewhere = getattr(edge_model.invoke, "pid", 0)  # the process that holds the interpreter
    inputs = read(vectors, edge_model.signature).inputs
    batch = max(1, edge_model.signature.inputs[0].shape[0])
    rows = len(next(iter(inputs.values())))
    calls = [
        {
            name: np.take(array, range(row, row + batch), 0, mode="wrap")
            for name, array in inputs.items()
        }
        for row in range(rows)
    ]
    edge_model(calls[0])
    loaded = time.perf_counter() - started
    for number in range(WARM_UP):
        edge_model.invoke(calls[number % rows])
    taken: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(taken) < RUNS and (not taken or time.perf_counter() < end):
        call = calls[len(taken) % rows]
        begin = time.perf_counter()
        edge_model.invoke(call)
        seconds = time.perf_counter() - begin
        taken.append(getattr(edge_model.invoke, "seconds", seconds))  # without the pipes
    quantiles = [round(float(value), 5) for value in 1000 * np.percentile(taken, range(101))]
    peak = _memory("VmHWM", elsewhere)
    before = 0 if elsewhere else before
    return Latency(
        load_ms=round(1000 * loaded, 3),
        p50_ms=quantiles[50],
        p90_ms=quantiles[90],
        p99_ms=quantiles[99],
        quantiles_ms=tuple(quantiles),
        runs=len(taken),
        peak_bytes=peak,
        growth_bytes=None if peak is None or before is None else max(0, peak - before),
    )


def _memory(field: str, pid: int = 0) -> int | None:
    # getrusage counts what the parent held before exec; this is of the process alone
    try:
        lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), None)


if __name__ == "__main__":
    with open(os.dup(1), "w") as answer:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # runtimes say there what they like
        try:
            json.dump(asdict(main(*sys.argv[1:])), answer)
        except EdgelineError as fault:
            sys.exit(str(fault))
