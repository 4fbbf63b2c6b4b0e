"""What predictions wait for explanations: `python benchmarks/explain_beside.py [BUNDLE]`.

One client predicts a row again and again over v1's JSON; a second explains one all the time, in
every other interval. Medians and 99th percentiles of both kinds of interval, of the same minutes
and the same server. More than `LIMIT` times the median is an error. BUNDLE is what a pipeline
published, by default the one of `edgeline run taxi`. Writes results/explain_beside.json.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from environment import undistorted
from serving import Http

HERE = Path(__file__).resolve().parent
BUNDLE = HERE.parent / "edgeline-models" / "taxi" / "1"
RESULTS = HERE / "results" / "explain_beside.json"
SECONDS, INTERVALS = 3.0, 20  # of an interval, and how many there are
EXPLAIN = 0.5  # seconds that an explanation may take
LIMIT = 1.5  # times the median without


class Explaining:
    """A client that explains while it is told to."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        self.on = threading.Event()
        self.orders: list[int] = []
        threading.Thread(target=self._ask, args=(port, path, body), daemon=True).start()

    def _ask(self, port: int, path: str, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while self.on.wait():
            connection.request("POST", path, body)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 200:
                self.orders.append(json.loads(content)["explanations"][0]["orders"])
            elif answer.status != 503:  # the time was over: this machine is busy
                raise RuntimeError(content)


def main(folder: Path) -> int:
    command = [sys.executable, "-m", "edgeline.server", str(folder), "--port=0", "--poll=0"]
    process = subprocess.Popen(
        [*command, f"--explain={EXPLAIN:g}"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("http=")[1].split()[0])
        name = json.loads((folder / "manifest.json").read_text())["name"]
        body = _get(port, f"/example/{name}")
        predicting = Http(port, f"/v1/models/{name}:predict", body)
        explaining = Explaining(port, f"/v1/models/{name}:explain", body)
        explaining.on.set()
        while not explaining.orders:  # its process begins with the first
            time.sleep(0.1)
        explaining.orders.clear()
        found: tuple[list[float], list[float]] = ([], [])
        for interval in range(INTERVALS):
            explains = interval % 2
            (explaining.on.set if explains else explaining.on.clear)()
            time.sleep(2 * EXPLAIN)  # what is at work ends, or the next begins
            found[explains].extend(_asked(predicting))
        explaining.on.clear()
        time.sleep(2 * EXPLAIN)
    finally:
        process.terminate()
        process.wait()
    without, beside = ({"p50_us": _at(each, 50), "p99_us": _at(each, 99)} for each in found)
    ratio = round(beside["p50_us"] / without["p50_us"], 3)
    document = {
        "bundle": f"{name} {folder.name}", "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1), "requests": [len(each) for each in found],
        "without": without, "beside": beside,
        "p50_ratio": ratio,
        "p99_ratio": round(beside["p99_us"] / without["p99_us"], 3),
        "explanations": len(explaining.orders),
        "median_orders": statistics.median(explaining.orders or [0]),
    }  # fmt: skip
    print(json.dumps(document))
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    return int(ratio > LIMIT)


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    return connection.getresponse().read()


def _asked(client: Http) -> list[float]:
    """Seconds of each request of an interval."""
    seconds: list[float] = []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        began = time.perf_counter()
        client.send()
        client.receive()
        seconds.append(time.perf_counter() - began)
    return seconds


def _at(seconds: list[float], percent: int) -> float:
    return round(1e6 * statistics.quantiles(seconds, n=100)[percent - 1], 1)


if __name__ == "__main__":
    undistorted()
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLE))
