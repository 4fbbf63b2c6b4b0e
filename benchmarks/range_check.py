"""What a look at the ranges costs a request: `python benchmarks/range_check.py [BUNDLE]`.

One server has the bundle three times: as it is, and twice without its ranges. One client asks them
in turns, a block of requests each, with values inside the ranges; two servers would differ by more
than what is looked for. Counted is the server's processor time (user and system, of all its
threads), since the clock has in it what else the machine does; the median over the rounds counts.
The two without ranges tell how far equal models differ: a share that is not a larger says nothing.
BUNDLE is what a pipeline published, by default the one of `edgeline run taxi`, which has many
features and a small network, so the share is large. Writes results/range_check.json.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
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
WITH, WITHOUT, AGAIN = "with", "without", "again"
SECONDS, WARM, BLOCK = 12.0, 200, 0.05  # of a case, requests before it, seconds of a block
ROWS = (1, 32, 1000)
LIMIT = 0.02  # share of a request


def main(folder: Path) -> int:
    read = bundle.read(folder)
    allowed = ranges.read(folder / ranges.FILE)
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in (WITH, WITHOUT, AGAIN):
            _copy(folder, Path(scratch) / name / "1", name)
        process, ports, _ = started(Path(scratch))
        try:
            for rows in ROWS:
                arrays = _inside(read, allowed, rows)
                for protocol, request in (("v2 binary", _binary), ("v1", _v1)):
                    asked = {name: request(name, read, arrays) for name in (WITH, WITHOUT, AGAIN)}
                    cost = _cost(process.pid, ports["http"], asked)
                    alone = round(_alone(read, allowed, arrays), 2)
                    measured.append({"protocol": protocol, "rows": rows, **cost, "check_us": alone})
                    print(json.dumps(measured[-1]), flush=True)
        finally:
            process.terminate()
            process.wait()
    document = {
        "bundle": f"{read.name} {read.version}", "features": len(read.features),
        "with_ranges": len(allowed), "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1), "measured": measured,
    }  # fmt: skip
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    return int(any(case["share"] >= LIMIT for case in measured))


def _copy(folder: Path, to: Path, name: str) -> None:
    """A bundle under another name, and but for `WITH` without its ranges."""
    shutil.copytree(folder, to)
    manifest = json.loads((to / bundle.MANIFEST).read_text())
    manifest |= {"name": name, "version": 1}
    if name != WITH:
        (to / ranges.FILE).unlink()
        del manifest["files"][ranges.FILE]
    (to / bundle.MANIFEST).write_text(json.dumps(manifest))


def _cost(
    server: int, port: int, asked: dict[str, tuple[str, bytes, str]]
) -> dict[str, float | int]:
    """Microseconds of processor time a request of each, and what the ranges add as a share.

    `share_of_equal` is the same between the two without ranges.
    """
    clients = {name: Http(port, *request) for name, request in asked.items()}
    for _ in range(WARM):
        for client in clients.values():
            _ask(client)
    began = time.perf_counter()
    _ask(clients[WITH])
    block = max(5, int(BLOCK / (time.perf_counter() - began)))
    spent: dict[str, list[float]] = {name: [] for name in clients}
    until = time.monotonic() + SECONDS
    while time.monotonic() < until or len(spent[WITH]) < 6:
        turn = len(spent[WITH]) % 3
        for name in (*list(clients)[turn:], *list(clients)[:turn]):
            before = _processor_time(server)
            for _ in range(block):
                _ask(clients[name])
            spent[name].append((_processor_time(server) - before) / block)
    for client in clients.values():
        client.socket.close()
    usual = statistics.median(spent[WITHOUT] + spent[AGAIN])
    more, equal = (
        statistics.median(
            one - (two + three) / 2
            for one, two, three in zip(spent[first], spent[WITHOUT], spent[last], strict=True)
        )
        for first, last in ((WITH, AGAIN), (AGAIN, WITHOUT))
    )
    return {
        "rounds": len(spent[WITH]),
        "requests_a_round": block,
        "without_us": round(usual, 1),
        "ranges_us": round(more, 1),
        "share": round(more / usual, 4),
        "share_of_equal": round(equal / usual, 4),
    }


def _processor_time(process: int) -> float:
    """Microseconds that all threads of a process have had a core."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e3


def _ask(client: Http) -> None:
    client.send()
    client.receive()


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


def _binary(
    name: str, read: bundle.Bundle, arrays: dict[str, np.ndarray]
) -> tuple[str, bytes, str]:
    parts = {each: to_bytes(array) for each, array in arrays.items()}
    inputs = [
        {"name": t.name, "shape": arrays[t.name].shape, "datatype": BY_NAME[t.dtype].v2,
         "parameters": {"binary_data_size": len(parts[t.name])}}
        for t in read.signature.inputs
    ]  # fmt: skip
    document = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    header = json.dumps(document).encode()
    more = f"Inference-Header-Content-Length: {len(header)}\r\n"
    return f"/v2/models/{name}/infer", header + b"".join(parts.values()), more


def _v1(name: str, _: bundle.Bundle, arrays: dict[str, np.ndarray]) -> tuple[str, bytes, str]:
    def plain(cell: Any) -> Any:
        return [v.decode() if isinstance(v, bytes) else v for v in cell.ravel().tolist()]

    rows = len(next(iter(arrays.values())))
    instances = [{key: plain(a[row]) for key, a in arrays.items()} for row in range(rows)]
    return f"/v1/models/{name}:predict", json.dumps({"instances": instances}).encode(), ""


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
