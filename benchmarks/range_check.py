"""What a look at the ranges costs a request: `python benchmarks/range_check.py [BUNDLE]`.

A server notes how long the look takes within each request, and a client how long each request
takes: medians of the same requests, since two servers, or one with a bundle twice, differ by more
than what is looked for. On a machine that does much else a request waits more than a look does:
then the share of the server's processor time tells more than that of the median. All values are
inside.
BUNDLE is what a pipeline published, by default the one of `edgeline run taxi`, which has many
features and a small network, so the share is large. Writes results/range_check.json.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from environment import undistorted
from serving import Http

from edgeline.artifacts import bundle, ranges
from edgeline.formats.dtypes import BY_NAME, Array
from edgeline.monitoring.range_check import Outside, RangeCheck
from edgeline.server.__main__ import main as serve
from edgeline.server.tensors.binary import to_bytes

HERE = Path(__file__).resolve().parent
BUNDLE = HERE.parent / "edgeline-models" / "taxi" / "1"
RESULTS = HERE / "results" / "range_check.json"
SECONDS, WARM = 12.0, 200  # of a case, and requests before it
CASES = [(rows, protocol) for rows in (1, 32, 1000) for protocol in ("v2 binary", "v2", "v1")]
LIMIT = 0.02  # share of a request's median
SERVE = "--serve"


def main(folder: Path) -> int:
    read = bundle.read(folder)
    allowed = ranges.read(folder / ranges.FILE)
    asked: list[tuple[list[float], float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        noted = Path(scratch) / "looks"
        command = [sys.executable, __file__, SERVE, str(folder), str(noted)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split("http=")[1].split()[0])
            for rows, protocol in CASES:
                request = _request(protocol, read, _inside(read, allowed, rows))
                before = _processor_time(process.pid)
                seconds = _asked(Http(port, *request))
                spent = _processor_time(process.pid) - before
                asked.append((seconds, spent / len(seconds)))
        finally:
            process.terminate()
            process.wait()
        looks = array("d", noted.read_bytes())
    measured: list[dict[str, Any]] = []
    for (rows, protocol), (seconds, spent) in zip(CASES, asked, strict=True):
        of_case, looks = looks[: len(seconds)], looks[len(seconds) :]
        p50, look = (1e6 * statistics.median(each[WARM:]) for each in (seconds, of_case))
        measured.append(
            {"protocol": protocol, "rows": rows, "requests": len(seconds) - WARM,
             "look_us": round(look, 1), "p50_us": round(p50, 1), "processor_us": round(spent, 1),
             "share": round(look / p50, 4), "share_of_processor": round(look / spent, 4)}
        )  # fmt: skip
        print(json.dumps(measured[-1]), flush=True)
    document = {
        "bundle": f"{read.name} {read.version}", "features": len(read.features),
        "with_ranges": len({f.name for f in read.features} & allowed.keys()),
        "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "measured": measured,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(case["share"] >= LIMIT for case in measured))


def timed(folder: str, file: str) -> int:
    """Serve until SIGTERM, then write the seconds that each look took."""
    looks = array("d")
    outside = RangeCheck.outside

    def noted(check: RangeCheck, arrays: Mapping[str, Array]) -> Outside:
        began = time.perf_counter()
        found = outside(check, arrays)
        looks.append(time.perf_counter() - began)
        return found

    RangeCheck.outside = noted  # type: ignore
    try:
        return serve([folder, "--port=0", "--grpc-port=0", "--poll=0"])
    finally:
        Path(file).write_bytes(looks.tobytes())


def _asked(client: Http) -> list[float]:
    """Seconds of each request, those to warm up among them."""
    seconds: list[float] = []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until or len(seconds) < 2 * WARM:
        began = time.perf_counter()
        client.send()
        client.receive()
        seconds.append(time.perf_counter() - began)
    client.socket.close()
    return seconds


def _processor_time(process: int) -> float:
    """Microseconds that all threads of a process have had a core."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e3


def _inside(read: bundle.Bundle, allowed: ranges.Ranges, rows: int) -> dict[str, Array]:
    arrays = {}
    for tensor in read.signature.inputs:
        shape = (rows, *tensor.shape[1:])
        given = allowed.get(tensor.name, ranges.FeatureRange())
        if tensor.dtype == "string":
            texts = [text.encode() for text in given.values or ("x",)]
            arrays[tensor.name] = np.resize(np.array(texts, object), shape)
        else:
            value = given.least if given.least is not None else given.most or 0
            arrays[tensor.name] = np.full(shape, value, BY_NAME[tensor.dtype].numpy)
    return arrays


def _request(
    protocol: str, read: bundle.Bundle, arrays: dict[str, Array]
) -> tuple[str, bytes, str]:
    """Path, body and headers."""
    if protocol == "v1":
        rows = len(next(iter(arrays.values())))
        instances = [{key: _plain(a[row]) for key, a in arrays.items()} for row in range(rows)]
        document = json.dumps({"instances": instances})
        return f"/v1/models/{read.name}:predict", document.encode(), ""
    inputs: list[dict[str, Any]] = [
        {"name": t.name, "shape": arrays[t.name].shape, "datatype": BY_NAME[t.dtype].v2}
        for t in read.signature.inputs
    ]
    path = f"/v2/models/{read.name}/infer"
    if protocol == "v2":
        for each in inputs:
            each["data"] = _plain(arrays[each["name"]])
        return path, json.dumps({"inputs": inputs}).encode(), ""
    parts = {each: to_bytes(array) for each, array in arrays.items()}
    for each in inputs:
        each["parameters"] = {"binary_data_size": len(parts[each["name"]])}
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    more = f"Inference-Header-Content-Length: {len(header)}\r\n"
    return path, header + b"".join(parts.values()), more


def _plain(cell: Array) -> list[Any]:
    return [v.decode() if isinstance(v, bytes) else v for v in cell.ravel().tolist()]


if __name__ == "__main__":
    undistorted()
    if sys.argv[1:2] == [SERVE]:
        sys.exit(timed(*sys.argv[2:]))
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLE))
