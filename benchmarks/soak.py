"""Ten minutes of eight clients, with all that happens to a server beside: none lost, none wrong.

`python benchmarks/soak.py [--seconds 600]`: two servers of one signed repository on a web server.
Eight clients ask them in turns; meanwhile versions are published and fetched, rolled out to a share
of the requests and promoted, models are loaded again, one server after the other is replaced by a
new process (as a rolling restart does it: the new one is ready, then the old one gets no new
connections and SIGTERM), and 50 connections are slow, damaged or never whole. Each answer has to be
that of a version that was published. A client asks again only where a connection that was idle had
been closed, as every HTTP client does. Writes results/soak.json; exits with 1 if a request was lost
or wrong, or a log has a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "server"))

import held_memory
from environment import undistorted
from fuzz_cases import frame_cases, framing_cases
from publishing import PASSPHRASE, ROW, Publisher, Web, model
from running import Running

RESULTS = Path(__file__).resolve().parent / "results" / "soak.json"
CLIENTS, HOSTILE = 8, 50
UPDATE, RELOAD, RESTART = 10.0, 3.0, 45.0  # seconds between two of each
DRAIN = 3.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Soak:
    """What all threads of the run share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "publisher")
        self.weights = {1}
        self.publisher.add(model(1))
        self.web = Web(self.publisher.path)
        self.stop = threading.Event()
        self.counted: Counter[str] = Counter()
        self.slowest = 0.0
        self.lost: list[str] = []
        self.servers = [self.begin() for _ in range(2)]
        self._lock = threading.Lock()

    def begin(self) -> Running:
        """A new server with a state folder of its own."""
        state = Path(tempfile.mkdtemp(dir=self.folder))
        return Running(
            self.web.url, f"--root={self.publisher.root}", f"--state={state}", "--poll=0",
            f"--drain={DRAIN}", "--trial-time=5", "--read-time=10",
        )  # fmt: skip

    def count(self, what: str) -> None:
        with self._lock:
            self.counted[what] += 1

    def answered(self, scores: set[float], seconds: float) -> None:
        """Take an answer in: the score has to be that of a version that was published."""
        wanted = {3.0 * weight + 1 for weight in self.weights}
        with self._lock:
            self.counted["requests"] += 1
            self.counted["wrong"] += not scores <= wanted
            self.slowest = max(self.slowest, seconds)

    def lose(self, why: str) -> None:
        with self._lock:
            self.counted["requests"] += 1
            self.counted["lost"] += 1
            self.lost = [*self.lost[-9:], why]


def client(soak: Soak, place: int) -> None:
    """Ask again and again, each time of the next of the servers that there are."""
    body = json.dumps(ROW).encode()
    kept: dict[int, http.client.HTTPConnection] = {}
    turn = place
    while not soak.stop.is_set():
        servers = soak.servers
        port = servers[turn % len(servers)].http
        turn += 1
        fresh = port not in kept
        connection = kept.setdefault(
            port, http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        )
        began = time.perf_counter()
        try:
            connection.request("POST", "/v1/models/m:predict", body)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            del kept[port]
            if fresh or not isinstance(error, http.client.RemoteDisconnected):
                soak.lose(f"{type(error).__name__}: {error}")
            continue  # an idle connection that the server closed: asked again
        if answer.status != 200:
            soak.lose(f"{answer.status}: {content[:200]!r}")
        else:
            scores = {float(row["score"][0]) for row in json.loads(content)["predictions"]}
            soak.answered(scores, time.perf_counter() - began)
        if answer.getheader("Connection") == "close":
            connection.close()
            del kept[port]


def hostile(soak: Soak, seed: int) -> None:
    """One connection after another that is slow, damaged or never whole."""
    rng = random.Random(seed)
    whole = [lambda: framing_cases(rng), lambda: PREFACE + frame_cases(rng)]
    unfinished = list(held_memory.KINDS.values())
    while not soak.stop.is_set():
        soak.count("hostile_connections")
        server = rng.choice(soak.servers)
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", server.http), timeout=15) as connection,
        ):
            if rng.random() < 0.3:  # a byte now and then
                for byte in b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\n" + bytes(200):
                    connection.sendall(bytes((byte,)))
                    if soak.stop.wait(0.1):
                        return
            elif rng.random() < 0.5:
                connection.sendall(rng.choice(whole)())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
            else:
                connection.sendall(rng.choice(unfinished)(rng))
                soak.stop.wait(rng.uniform(1, 15))
        soak.stop.wait(0.1)


def updating(soak: Soak) -> None:
    """Publish, fetch, roll out and promote."""
    for number in range(2, 1 << 20):
        if soak.stop.wait(UPDATE / 2):
            return
        soak.weights.add(number % 50 + 2)
        soak.publisher.add(model(number % 50 + 2))
        for server in soak.servers:
            with contextlib.suppress(OSError, http.client.HTTPException):  # it is being replaced
                rollout = {"weight": 0.3, "seconds": 3600, "requests": 1 << 30}
                server.ask("POST", "/rollouts/m", rollout)
                status, _, _ = server.ask("POST", "/updates")
                soak.count("updates" if status == 200 else f"updates_{status}")
        if soak.stop.wait(UPDATE / 2):
            return
        for server in soak.servers:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _, _ = server.ask(
                    "POST", f"/rollouts/m/{('promote', 'return')[number % 4 == 3]}"
                )
                soak.count("rollouts" if status == 200 else f"rollouts_{status}")


def reloading(soak: Soak) -> None:
    """Load the model again, over the protocol's own call."""
    while not soak.stop.wait(RELOAD):
        for server in soak.servers:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _, _ = server.ask("POST", "/v2/repository/models/m/load", {})
                soak.count("reloads" if status == 200 else f"reloads_{status}")


def restarting(soak: Soak, logs: list[str]) -> None:
    """Replace the older server by a new one, which is ready before."""
    while not soak.stop.wait(RESTART):
        old, kept = soak.servers
        soak.servers = [kept, soak.begin()]
        soak.stop.wait(1.0)  # as long as others take to hear of it; --drain is longer
        code, log = old.stop()
        logs.append(log)
        soak.count("restarts" if code == 0 else f"restarts_that_ended_in_{code}")


def main() -> int:
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    given = parser.parse_args()
    os.environ["EDGELINE_KEY_PASSPHRASE"] = PASSPHRASE
    logs: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder))
        load = os.getloadavg()[0]
        began = time.monotonic()
        asking = [threading.Thread(target=client, args=(soak, place)) for place in range(CLIENTS)]
        beside = [threading.Thread(target=hostile, args=(soak, seed)) for seed in range(HOSTILE)]
        beside += [
            threading.Thread(target=updating, args=(soak,)),
            threading.Thread(target=reloading, args=(soak,)),
            threading.Thread(target=restarting, args=(soak, logs)),
        ]
        for thread in (*asking, *beside):
            thread.start()
        while time.monotonic() < began + given.seconds and all(t.is_alive() for t in asking):
            soak.stop.wait(5)
        memory = max(server.metric("process_resident_memory_bytes") for server in soak.servers)
        soak.stop.set()
        for thread in (*asking, *beside):
            thread.join()
        seconds = time.monotonic() - began
        logs += [server.stop()[1] for server in soak.servers]
        soak.web.close()
    found = {
        "seconds": round(seconds, 1), "cores": os.cpu_count(), "load": round(load, 1),
        **dict(sorted(soak.counted.items())), "lost": soak.counted["lost"],
        "wrong": soak.counted["wrong"], "slowest_ms": round(1000 * soak.slowest, 1),
        "mib_end": round(memory / (1 << 20), 1),
        "tracebacks": sum(log.count("Traceback") for log in logs), "last_lost": soak.lost,
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    if found["tracebacks"]:
        print(next(log for log in logs if "Traceback" in log)[-3000:], file=sys.stderr)
    bad = found["lost"] or found["wrong"] or found["tracebacks"]
    return int(bool(bad) or seconds < given.seconds)


if __name__ == "__main__":
    sys.exit(main())
