"""The ways in which a new model reaches what asks it, side by side, while four threads ask.

`python benchmarks/update_ways.py [--updates 10] [--every 2]`: a server that is stopped and started
with another file, one that watches a folder, one that asks a signed repository, one that is told
(POST /updates), and `edgeline.follow` inside the program that asks. For each: calls, those that
failed, the longest pause (from the start of a call that fails or waits to the next answer of its
thread), and the resident memory of the process that predicts, at the end; in the program that holds
the publisher and the measure, too. The table is printed, and written to results/update_ways.json.
Exits with 1 where a way other than the restart lost a call.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "server"))

from environment import undistorted
from publishing import PASSPHRASE, ROW, Publisher, Web, bundle, model
from running import Running

RESULTS = Path(__file__).resolve().parent / "results" / "update_ways.json"
THREADS = 4
BODY = json.dumps(ROW).encode()
VALUES = {name: [value] for name, value in ROW["instances"][0].items()}  # a row
LIMIT = 60.0  # seconds for an update to arrive
RESTART = "restart"


@dataclass(frozen=True)
class Way:
    """How a model is replaced: `ask` gives its answer, `bring` publishes one of a weight."""

    ask: Callable[[], float]
    bring: Callable[[int], None]
    memory: Callable[[], float]


@dataclass(frozen=True)
class Measured:
    calls: int
    failed: int
    longest_pause_ms: float
    arrives_in_s: float
    memory_mib: float


def main() -> int:
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--every", type=float, default=2.0)
    given = parser.parse_args()
    os.environ["EDGELINE_KEY_PASSPHRASE"] = PASSPHRASE
    found: dict[str, Measured] = {}
    print(f"{'':12}{'calls':>8}{'failed':>8}{'pause':>10}{'arrives':>10}{'memory':>10}")
    for name, way in WAYS.items():
        with tempfile.TemporaryDirectory() as folder, way(Path(folder)) as made:
            one = found[name] = measure(made, given.updates, given.every)
        print(
            f"{name:12}{one.calls:8,}{one.failed:8,}{one.longest_pause_ms:7.1f} ms"
            f"{one.arrives_in_s:8.2f} s{one.memory_mib:6.1f} MiB",
            flush=True,
        )
    RESULTS.write_text(
        json.dumps({name: asdict(one) for name, one in found.items()}, indent=1) + "\n"
    )
    return int(any(one.failed for name, one in found.items() if name != RESTART))


def measure(way: Way, updates: int, every: float) -> Measured:
    """Ask from several threads while updates come one after the other."""
    stop = threading.Event()
    calls, failed, pauses = [0] * THREADS, [0] * THREADS, [0.0] * THREADS
    latest = [0.0] * THREADS

    def asking(place: int) -> None:
        since = time.perf_counter()
        while not stop.is_set():
            calls[place] += 1
            try:
                latest[place] = way.ask()
            except Exception:
                failed[place] += 1
                continue
            now = time.perf_counter()
            pauses[place], since = max(pauses[place], now - since), now

    threads = [threading.Thread(target=asking, args=(place,)) for place in range(THREADS)]
    for thread in threads:
        thread.start()
    arrivals = []
    try:
        for number in range(updates):
            started = time.perf_counter()
            way.bring(number + 2)
            while latest[0] != 3.0 * (number + 2) + 1:
                if time.perf_counter() - started > LIMIT:
                    raise RuntimeError(f"Update {number} did not arrive in {LIMIT:g} s.")
                time.sleep(0.01)
            arrivals.append(time.perf_counter() - started)
            time.sleep(max(0.0, every - arrivals[-1]))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return Measured(
        sum(calls),
        sum(failed),
        round(1000 * max(pauses), 1),
        round(sum(arrivals) / len(arrivals), 2),
        round(way.memory(), 1),
    )


def asked(port: Callable[[], int]) -> Callable[[], float]:
    """A call by HTTP, over a connection that each thread keeps."""
    kept = threading.local()

    def ask() -> float:
        try:
            if getattr(kept, "port", None) != port():
                kept.port = port()
                kept.connection = http.client.HTTPConnection("127.0.0.1", kept.port, timeout=10)
            kept.connection.request("POST", "/v1/models/m:predict", BODY)
            answer = kept.connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(content)
            return float(json.loads(content)["predictions"][0]["score"][0])
        except Exception:
            kept.port = None
            raise

    return ask


def resident(server: Running) -> float:
    return server.metric("process_resident_memory_bytes") / (1 << 20)


@contextmanager
def restarted(folder: Path) -> Iterator[Way]:
    """What a service without updates does: another file, and a new process on the same port."""
    running = [Running(bundle(folder / "m", model(1)))]

    def bring(weight: int) -> None:
        running[0].stop()
        running[0] = Running(bundle(folder / "m", model(weight)))

    try:
        yield Way(asked(lambda: running[0].http), bring, lambda: resident(running[0]))
    finally:
        running[0].stop()


@contextmanager
def watched(folder: Path) -> Iterator[Way]:
    """A store of versions that the server looks at each half second."""

    def put(weight: int) -> None:
        made = bundle(folder / "made", model(weight))
        manifest = json.loads((made / "manifest.json").read_text())
        (made / "manifest.json").write_text(json.dumps({**manifest, "version": weight}))
        shutil.move(made, folder / "store" / "m" / str(weight))

    (folder / "store" / "m").mkdir(parents=True)
    put(1)
    server = Running(folder / "store", "--poll", "0.5")
    try:
        yield Way(asked(lambda: server.http), put, lambda: resident(server))
    finally:
        server.stop()


@contextmanager
def signed(folder: Path, *options: str, told: bool = False) -> Iterator[Way]:
    """A signed repository on a web server, which the server looks at, or is told to look at."""
    publisher = Publisher(folder / "publisher")
    publisher.add(model(1))
    web = Web(publisher.path)
    server = Running(web.url, f"--root={publisher.root}", f"--state={folder}/state", *options)

    def bring(weight: int) -> None:
        publisher.add(model(weight))
        if told:
            server.ask("POST", "/updates")

    try:
        yield Way(asked(lambda: server.http), bring, lambda: resident(server))
    finally:
        server.stop()
        web.close()


@contextmanager
def within(folder: Path) -> Iterator[Way]:
    """`edgeline.follow`: this process predicts, publishes and measures."""
    import edgeline

    publisher = Publisher(folder / "publisher")
    publisher.add(model(1))
    web = Web(publisher.path)
    with edgeline.follow(web.url, publisher.root, state=folder / "state", poll=0.5) as models:

        def bring(weight: int) -> None:
            publisher.add(model(weight))

        def memory() -> float:
            status = Path("/proc/self/status").read_text()
            return int(status.partition("VmRSS:")[2].split()[0]) / 1024

        try:
            yield Way(
                lambda: float(models.predict(VALUES)["score"][0, 0]),
                bring,
                memory,
            )
        finally:
            web.close()


WAYS: dict[str, Callable[[Path], AbstractContextManager[Way]]] = {
    RESTART: restarted,
    "folder": watched,
    "poll": lambda folder: signed(folder, "--poll=0.5"),
    "push": lambda folder: signed(folder, "--poll=0", told=True),
    "in program": within,
}


if __name__ == "__main__":
    sys.exit(main())
