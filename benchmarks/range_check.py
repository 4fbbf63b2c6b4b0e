"""What a look at the ranges costs a request: `python benchmarks/range_check.py [BUNDLE]`.

Two servers of one bundle, which differ in `--out-of-range` alone (flag, ignore), are asked in turns
by one client with values inside the ranges, so that whatever else the machine does falls on both.
Two servers with the same flags differ by up to 5 % for as long as they live, so five pairs are
started, and the median of their shares counts.
BUNDLE is what a pipeline published, by default the one of `edgeline run taxi`, which has many
features and a small network, so the share is large. Writes results/range_check.json.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from environment import undistorted
from serving import Http, started

from edgeline.artifacts import bundle, ranges
from edgeline.formats.dtypes import BY_NAME
from edgeline.server.models.range_check import RangeCheck
from edgeline.server.tensors.binary import to_bytes

HERE = Path(__file__).resolve().parent
BUNDLE = HERE.parent / "edgeline-models" / "taxi" / "1"
RESULTS = HERE / "results" / "range_check.json"
PAIRS = 5  # of servers
SECONDS, WARM = 4.0, 200  # of each measurement, and requests before it
ROWS = (1, 32, 1000)
LIMIT = 0.02  # share of p50


def main(folder: Path) -> int:
    read = bundle.read(folder)
    allowed = ranges.read(folder / ranges.FILE)
    found = [cost for number in range(PAIRS) for cost in _of_a_pair(folder, read, allowed, number)]
    measured = [
        _median([cost for cost in found if (cost["protocol"], cost["rows"]) == case])
        for case in dict.fromkeys((cost["protocol"], cost["rows"]) for cost in found)
    ]
    for case in measured:
        print(json.dumps(case))
    document = {
        "bundle": f"{read.name} {read.version}", "features": len(read.features),
        "with_ranges": len(allowed), "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1), "measured": measured,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(case["share_of_p50"] >= LIMIT for case in measured))


def _of_a_pair(
    folder: Path, read: bundle.Bundle, allowed: ranges.Ranges, number: int
) -> list[dict[str, Any]]:
    """What each protocol and number of rows costs on two servers that are started for it."""
    found = []
    order = ("flag", "ignore") if number % 2 else ("ignore", "flag")
    servers = {how: started(folder, f"--out-of-range={how}") for how in order}
    on, off = (servers[how][1]["http"] for how in ("flag", "ignore"))
    try:
        for rows in ROWS:
            arrays = _inside(read, allowed, rows)
            for protocol, request in (
                ("v2 binary", _binary(read, arrays)),
                ("v1", _v1(read, arrays)),
            ):
                cost = _paired(on, off, *request)
                alone = round(_alone(read, allowed, arrays), 2)
                found.append({"protocol": protocol, "rows": rows, **cost, "check_us": alone})
    finally:
        for process, _, _ in servers.values():
            process.terminate()
            process.wait()
    return found


def _median(costs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the same case on several pairs of servers."""
    first = costs[0]
    names = ("p50_us", "p50_us_without", "share_of_p50", "check_us")
    return {
        "protocol": first["protocol"],
        "rows": first["rows"],
        "pairs": sum(cost["pairs"] for cost in costs),
        **{name: statistics.median(cost[name] for cost in costs) for name in names},
        "shares": sorted(cost["share_of_p50"] for cost in costs),
    }


def _inside(read: bundle.Bundle, allowed: ranges.Ranges, rows: int) -> dict[str, np.ndarray]:
    arrays = {}
    for tensor in read.signature.inputs:
        shape = (rows, *tensor.shape[1:])
        given = allowed.get(tensor.name, ranges.FeatureRange())
        if tensor.dtype == "string":
            arrays[tensor.name] = np.full(shape, (given.values or ("x",))[0].encode(), object)
        else:
            value = given.least if given.least is not None else given.most or 0
            arrays[tensor.name] = np.full(shape, value, BY_NAME[tensor.dtype].numpy)
    return arrays


def _binary(read: bundle.Bundle, arrays: dict[str, np.ndarray]) -> tuple[str, bytes, str]:
    parts = {name: to_bytes(array) for name, array in arrays.items()}
    inputs = [
        {"name": t.name, "shape": arrays[t.name].shape, "datatype": BY_NAME[t.dtype].v2,
         "parameters": {"binary_data_size": len(parts[t.name])}}
        for t in read.signature.inputs
    ]  # fmt: skip
    document = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    header = json.dumps(document).encode()
    more = f"Inference-Header-Content-Length: {len(header)}\r\n"
    return f"/v2/models/{read.name}/infer", header + b"".join(parts.values()), more


def _v1(read: bundle.Bundle, arrays: dict[str, np.ndarray]) -> tuple[str, bytes, str]:
    def plain(cell: Any) -> Any:
        return [v.decode() if isinstance(v, bytes) else v for v in cell.ravel().tolist()]

    rows = len(next(iter(arrays.values())))
    instances = [{name: plain(a[row]) for name, a in arrays.items()} for row in range(rows)]
    return f"/v1/models/{read.name}:predict", json.dumps({"instances": instances}).encode(), ""


def _paired(on: int, off: int, path: str, body: bytes, header: str) -> dict[str, float]:
    """p50 in microseconds of both, and the median of the pairs' differences as a share of it."""
    clients = [Http(port, path, body, header) for port in (on, off)]
    for client in clients * WARM:
        _asked(client)
    times: tuple[list[float], list[float]] = ([], [])
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for which in ((0, 1), (1, 0))[len(times[0]) % 2]:
            times[which].append(_asked(clients[which]))
    for client in clients:
        client.socket.close()
    with_it, without = (1e6 * statistics.median(seconds) for seconds in times)
    differences = [a - b for a, b in zip(*times, strict=True)]
    return {
        "pairs": len(differences),
        "p50_us": round(with_it, 1),
        "p50_us_without": round(without, 1),
        "share_of_p50": round(1e6 * statistics.median(differences) / without, 4),
    }


def _asked(client: Http) -> float:
    began = time.perf_counter()
    client.send()
    client.receive()
    return time.perf_counter() - began


def _alone(read: bundle.Bundle, allowed: ranges.Ranges, arrays: dict[str, np.ndarray]) -> float:
    """Microseconds of the look itself, without a server."""
    check = RangeCheck(allowed, read.signature.inputs, False, lambda *_: None)
    seconds = []
    for _ in range(2000):
        began = time.perf_counter()
        check.outside(arrays)
        seconds.append(time.perf_counter() - began)
    return 1e6 * statistics.median(seconds)


if __name__ == "__main__":
    undistorted()
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLE))
