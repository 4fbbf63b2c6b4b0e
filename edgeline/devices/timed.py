"""The process that is measured: an interpreter and a model in a fresh Python, and nothing else.

`python timed.py FOLDER SECONDS THREADS`, on the device: the standard library, numpy and
ai-edge-litert or tflite-runtime, for Python 3.7 and later. FOLDER has `model.tflite` and
`inputs.json` (of each input the .npy file beside it or, of strings, rows as in the bundle's test
vectors); it gets `timed.json`. The first thing it does is to take the time, so that what imports
cost is known.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import base64  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import sys  # noqa: E402
from array import array  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

SERVING = "serving_default"
WARM_UP = 50
KEPT = 100_000  # times; beyond that every second one is kept, so that memory stays the model's
ANSWERS = 1_000_000  # values of answers that go back, at least those of one call


def interpreter() -> Any:
    """The class of the interpreter, ai-edge-litert's or tflite-runtime's.

    Raises:
        ImportError: there is neither.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    return Interpreter


def main(folder: Path, seconds: float, threads: int) -> dict[str, Any]:
    """Load, answer the recorded rows, warm up, and time one call after the other."""
    import numpy as np

    kind = interpreter()
    imported = time.perf_counter()
    model = kind(model_path=str(folder / "model.tflite"), num_threads=threads)
    model.allocate_tensors()
    runner = model.get_signature_runner(SERVING)
    loading = time.perf_counter() - imported
    told_rows = json.loads((folder / "inputs.json").read_text())
    inputs = {
        name: np.load(str(folder / each["file"])) if "file" in each else _strings(np, each["rows"])
        for name, each in told_rows.items()
    }
    fixed = {name: detail["shape"] for name, detail in runner.get_input_details().items()}
    batch = max(1, int(next(iter(fixed.values()))[0]))
    count = len(next(iter(inputs.values())))
    calls = [
        {
            name: np.take(each, range(row, row + batch), 0, mode="wrap")
            for name, each in inputs.items()
        }
        for row in range(0, count, batch)
    ]
    began = time.perf_counter()
    answers = [runner(**calls[0])]
    first = time.perf_counter()
    size = sum(value.size for value in answers[0].values())
    told = min(len(calls), max(1, ANSWERS // max(1, size)))
    answers += [runner(**call) for call in calls[1:told]]
    for number in range(WARM_UP):
        runner(**calls[number % len(calls)])
    taken, step, done, spent = array("d"), 1, 0, 0.0
    since = time.monotonic()
    while not done or time.monotonic() < since + seconds:
        call = calls[done % len(calls)]
        begin = time.perf_counter()
        runner(**call)
        one = time.perf_counter() - begin
        spent += one
        done += 1
        if done % step == 0:
            taken.append(one)
            if len(taken) == KEPT:
                taken, step = taken[::2], 2 * step
    until = time.monotonic()
    peak = _peak_bytes()
    quantiles = [1000 * float(each) for each in np.percentile(taken, (50, 95, 99))]
    fifth = max(1, len(taken) // 5)
    package = kind.__module__.partition(".")[0]
    return {
        "interpreter": package,
        "interpreter_version": str(getattr(sys.modules[package], "__version__", "")),
        "python": ".".join(map(str, sys.version_info[:3])),
        "start_ms": 1000 * (first - STARTED),
        "load_ms": 1000 * (loading + first - began),
        "p50_ms": quantiles[0],
        "p95_ms": quantiles[1],
        "p99_ms": quantiles[2],
        "batch": batch,
        "runs": done,
        "mean_ms": 1000 * spent / done,
        "slowdown": float(np.median(taken[-fifth:]) / np.median(taken[:fifth])),
        "peak_bytes": peak,
        "since": since,
        "until": until,
        "answers": {
            name: _plain(
                np.concatenate([each[name] for each in answers])[
                    : min(count, told * batch)
                ].tolist()
            )
            for name in answers[0]
        },
    }


def _strings(np: Any, rows: Any) -> Any:
    flat: list[bytes] = []

    def shape(item: Any) -> tuple[int, ...]:
        if not isinstance(item, list):
            flat.append(item.encode() if isinstance(item, str) else base64.b64decode(item["b64"]))
            return ()
        inner = [shape(each) for each in item]
        return (len(item),) + (inner[0] if inner else ())

    dimensions = shape(rows)
    found = np.empty(len(flat), object)
    found[:] = flat
    return found.reshape(dimensions)


def _peak_bytes() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


def _plain(value: Any) -> Any:
    """Answers as the bundle's test vectors have them: JSON has neither bytes nor NaN."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


if __name__ == "__main__":
    place = Path(sys.argv[1])
    found = main(place, float(sys.argv[2]), int(sys.argv[3]))
    (place / "timed.json").write_text(json.dumps(found))
