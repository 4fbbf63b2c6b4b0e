"""Eight clients for a minute with an update every 5 s; then memory over 100 updates.

`python benchmarks/updates.py [--seconds 60] [--every 5] [--updates 100]`: a signed repository on a
real web server, one `edgeline serve`. Each answer has to be that of a version that was published.
What was found is printed, and written to results/updates.json.
Exits with 1 if a request failed or was wrong, or if memory grew.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "server"))

from environment import undistorted
from publishing import PASSPHRASE, ROW, Publisher, Web, model
from running import Running

RESULTS = Path(__file__).resolve().parent / "results" / "updates.json"
CLIENTS = 8
GROWTH = 1.1  # of resident memory that is allowed over the second half of the updates


def main() -> int:
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--updates", type=int, default=100)
    given = parser.parse_args()
    os.environ["EDGELINE_KEY_PASSPHRASE"] = PASSPHRASE
    with tempfile.TemporaryDirectory() as folder:
        publisher = Publisher(Path(folder) / "publisher")
        publisher.add(model(1))
        web = Web(publisher.path)
        options = (f"--root={publisher.root}", f"--state={folder}/state", "--poll=0")
        server = Running(web.url, *options)
        try:
            found = {
                **under_load(server, publisher, given.seconds, given.every),
                **memory(server, publisher, given.updates),
            }
        finally:
            _, log = server.stop()
            web.close()
    print(json.dumps(found, indent=1))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    grown = found["mib_end"] > GROWTH * found["mib_half"]
    if "Traceback" in log or grown:
        print(log[-2000:], file=sys.stderr)
    return int(bool(found["failed"] or found["wrong"] or grown or "Traceback" in log))


def under_load(
    server: Running, publisher: Publisher, seconds: float, every: float
) -> dict[str, float]:
    """Requests, those that failed or were wrong, and updates, while clients ask."""
    possible, stop = {4.0}, threading.Event()
    requests, failed, wrong, slowest = [0] * CLIENTS, [0] * CLIENTS, [0] * CLIENTS, [0.0] * CLIENTS
    body = json.dumps(ROW).encode()

    def client(place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=30)
        while not stop.is_set():
            started = time.perf_counter()
            try:
                connection.request("POST", "/v1/models/m:predict", body)
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != 200:
                    failed[place] += 1
                elif json.loads(content)["predictions"][0]["score"][0] not in possible:
                    wrong[place] += 1
            except OSError:
                failed[place] += 1
                connection.close()
            requests[place] += 1
            slowest[place] = max(slowest[place], time.perf_counter() - started)

    threads = [threading.Thread(target=client, args=(place,)) for place in range(CLIENTS)]
    for thread in threads:
        thread.start()
    end, updates = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        following = time.monotonic() + every
        update(server, publisher, possible, updates + 2)
        updates += 1
        time.sleep(max(0.0, min(following, end) - time.monotonic()))
    stop.set()
    for thread in threads:
        thread.join()
    return {
        "requests": sum(requests),
        "failed": sum(failed),
        "wrong": sum(wrong),
        "slowest_ms": round(1000 * max(slowest), 1),
        "updates_under_load": updates,
    }


def memory(server: Running, publisher: Publisher, updates: int) -> dict[str, float]:
    """Resident memory in MiB at the start, after half of the updates and after all of them."""
    found = {"mib_start": resident(server)}
    for number in range(updates):
        update(server, publisher, set(), number % 50 + 100)
        if number == updates // 2:
            found["mib_half"] = resident(server)
    return {**found, "updates": updates, "mib_end": resident(server)}


def update(server: Running, publisher: Publisher, possible: set[float], weight: int) -> None:
    possible.add(3.0 * weight + 1)
    version = publisher.add(model(weight))
    status, answer, _ = server.ask("POST", "/updates")
    assert status == 200, answer
    assert server.ask("GET", f"/v2/models/m/versions/{version}/ready")[0] == 200


def resident(server: Running) -> float:
    return round(server.metric("process_resident_memory_bytes") / (1 << 20), 1)


if __name__ == "__main__":
    sys.exit(main())
