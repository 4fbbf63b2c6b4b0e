"""How near estimates come to the truth, and how soon concept drift is told: taxi, held-out rows.

`python benchmarks/decay.py [RUN]`. RUN is the folder of a run of the taxi pipeline
(`edgeline-runs/taxi-…/taxi-…`); without one the pipeline is run first.

- **Covariate shift**: the held-out rows in two halves; a map is fitted to one, and accuracy and AUC
  of the other are estimated and counted under ten shifts, in which some rows come up to eight times
  as often as others, by a feature. Both ways around, all rows are judged by a map that has not seen
  them. Estimated accuracy may be off by 0.02 at most.
- **Concept drift**: rows in random orders, 1,000 as they were and 1,000 whose labels come about
  otherwise. Where that costs over 0.15 of accuracy the alarm may take 500 rows at most; none may
  come of shifted rows whose labels are true, nor in 10,000 rows whose labels follow their scores
  (of 1,000 streams), nor in 10,000 shifted rows that maps of 1,000 and 5,000 rows judge.
- **Cost**: what a request's observer takes in the worker with decay and without, beside the median
  of a request of one row over HTTP, and the memory of a server after 10,000 named requests.

Writes results/decay.json; the exit status is 1 where a limit is missed.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environment import undistorted, without_onednn

from edgeline import artifacts
from edgeline.artifacts import bundle, calibration, examples, models, vectors
from edgeline.artifacts.features import MISSING_INT, Feature, to_numpy
from edgeline.formats.dtypes import Array
from edgeline.runtimes.concept import ConceptTest, MapMargin, expected
from edgeline.runtimes.estimated import estimate, tally
from edgeline.runtimes.interpreter import load
from edgeline.runtimes.measured import measure
from edgeline.server.models import loading
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import tracing
from edgeline.server.watching.decays import watched
from edgeline.server.watching.drift_watch import Watch

RESULTS = Path(__file__).resolve().parent / "results" / "decay.json"
TIMES = 8.0  # how much more often some rows of a shift come than others
ORDERS, STREAMS = 40, 1000
MAPS, SHIFTS = 150, (1.5, 3.0)
MOST_OFF, MOST_ROWS, MOST_SHARE, MOST_MEMORY = 0.02, 500, 0.01, 2e6
LARGE_LOSS = 0.15  # of accuracy: what every order has to tell within 500 rows
BINARY = calibration.BINARY


@dataclass(frozen=True)
class HeldOut:
    """Rows with scores float32 [rows], truth bool [rows] and raw features."""

    scores: Array
    truth: Array
    raw: Mapping[str, Array]
    threshold: float

    @property
    def decided(self) -> Array:
        return self.scores > self.threshold


def main() -> int:
    undistorted()
    without_onednn()
    load_average = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(sys.argv[1]) if len(sys.argv) > 1 else _run(Path(folder))
        rows, published = _held_out(run)
        shifts = [_shifted(name, weights, rows) for name, weights in _weights(rows.raw)]
        concepts, quiet = _concepts(rows), _quiet(rows)
        result: dict[str, Any] = {
            "cores": os.cpu_count(), "load": load_average, "held_out_rows": len(rows.scores),
            "largest_error": max(each["accuracy"]["error"] for each in shifts),
            "shifts": shifts, "concepts": concepts, "false_alarms": quiet,
            "cost": _cost(published, Path(folder)),
        }  # fmt: skip
    print(json.dumps(result, indent=1))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    cost = result["cost"]
    return int(
        result["largest_error"] > MOST_OFF
        or any(
            each["told_within_500"] < ORDERS
            for each in concepts
            if each["accuracy_lost"] > LARGE_LOSS
        )
        or any(each["alarms"] for each in quiet)
        or cost["share_of_p50"] > MOST_SHARE
        or cost["more_memory_bytes"] > MOST_MEMORY
    )


def _run(folder: Path) -> Path:
    command = [str(Path(sys.executable).with_name("edgeline")), "run", "taxi"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (found,) = folder.glob("edgeline-runs/taxi-*/taxi-*/")
    return found


def _held_out(run: Path) -> tuple[HeldOut, Path]:
    """The held-out rows of a run in a random order, and its bundle."""
    record = json.loads((run.parent / "run.json").read_text())
    published = Path(record["tasks"]["publish"]["outputs"]["uri"].removeprefix("file://"))
    read = bundle.read(published)
    model = load(published / read.model)
    source = artifacts.read(run / "ingest/examples", examples.SCHEMA)
    features = [*read.features]
    if "tips" not in {each.name for each in features}:
        features.append(Feature("tips", "float32", (1,)))
    parts: list[dict[str, Array]] = []
    for batch in examples.read_batches(source, "eval", [each.name for each in features]):
        found = to_numpy(batch, features)
        asked = {each.name: found[each.name] for each in read.features}
        parts.append({**found, models.PREDICTION: model(asked)[models.PREDICTION]})
    names = parts[0].keys()
    raw = {name: np.concatenate([part[name] for part in parts])[:, 0] for name in names}
    order = np.random.default_rng(0).permutation(len(raw["fare"]))
    raw = {name: values[order] for name, values in raw.items()}
    tips, fare = (np.nan_to_num(raw[name]) for name in ("tips", "fare"))  # as module.py has it
    threshold = read.decision_threshold or 0.5
    return HeldOut(raw[models.PREDICTION], tips > np.float32(0.2) * fare, raw, threshold), published


def _weights(raw: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Ten shifts: what each is called, and how often each row comes."""
    for name in ("fare", "trip_miles", "trip_seconds"):
        ranks = np.nan_to_num(raw[name].astype(float)).argsort().argsort() / len(raw[name])
        yield f"large {name}", TIMES**ranks
        yield f"small {name}", TIMES ** (1 - ranks)
    for name, value in (("payment_type", b"Cash"), ("payment_type", b"Credit Card")):
        yield f"{name} {value.decode()}", np.where(raw[name] == value, TIMES, 1.0)
    hours = raw["trip_start_hour"]
    yield "nights", np.where((hours < 6) | (hours > 20), TIMES, 1.0)
    names, counts = np.unique(raw["company"].astype(bytes), return_counts=True)
    most = names[np.argsort(counts)[-2]]
    yield f"company {most.decode() or '(missing)'}", np.where(raw["company"] == most, TIMES, 1.0)


def _shifted(name: str, weights: Array, rows: HeldOut) -> dict[str, Any]:
    """Estimated and true accuracy and AUC of a shift, each half judged by the other's map."""
    random = np.random.default_rng(1)
    halves = np.array_split(np.arange(len(rows.scores)), 2)
    estimated: dict[str, list[float]] = {"accuracy": [], "auc": []}
    true: dict[str, list[float]] = {"accuracy": [], "auc": []}
    for fitted, judged in (halves, halves[::-1]):
        made = calibration.fit(BINARY, rows.scores[fitted], rows.truth[fitted], {})
        share = weights[judged] / weights[judged].sum()
        drawn = judged[random.choice(len(judged), 20_000, p=share)]
        found = estimate(made, tally(made, rows.scores[drawn], rows.decided[drawn]))
        truth = rows.truth[drawn].astype(float)
        told = measure(BINARY, rows.scores[drawn], rows.decided[drawn], truth)
        for metric, values in estimated.items():
            values.append(found[metric].value)
            true[metric].append(told[metric].value)
    usual = float((rows.decided == rows.truth).mean())
    return {
        "shift": name,
        "usual_accuracy": round(usual, 4),
        **{
            metric: {
                "estimated": round(statistics.mean(values), 4),
                "true": round(statistics.mean(true[metric]), 4),
                "error": round(abs(statistics.mean(values) - statistics.mean(true[metric])), 4),
            }
            for metric, values in estimated.items()
        },
    }


def _concepts(rows: HeldOut) -> list[dict[str, Any]]:
    """How many rows after a change of labels its alarm comes, over random orders."""
    cash = rows.raw["payment_type"] == b"Cash"
    changes: dict[str, Callable[[np.random.Generator], Array]] = {
        "30 % of labels flip": lambda random: random.random(len(cash)) < 0.3,
        "20 % of labels flip": lambda random: random.random(len(cash)) < 0.2,
        "6 of 10 cash trips are tipped": lambda random: cash & (random.random(len(cash)) < 0.6),
        "6 of 10 tips stop": lambda random: rows.truth & (random.random(len(cash)) < 0.6),
    }
    found = []
    for name, change in changes.items():
        delays, lost = [], []
        for order in range(ORDERS):
            random = np.random.default_rng(order)
            changed = change(random)
            test, drawn = _stream(rows, random, np.ones(len(cash)), 1000, rows.truth)
            early = test.alarm
            _stream(rows, random, np.ones(len(cash)), 1000, rows.truth ^ changed, test)
            lost.append(float(np.mean(changed * np.where(rows.decided == rows.truth, 1, -1))))
            delays.append(test.alarm - drawn if test.alarm and not early else 10**6)
        found.append(
            {"change": name, "accuracy_lost": round(statistics.mean(lost), 4), "orders": ORDERS,
             "told_within_500": sum(each <= MOST_ROWS for each in delays),
             "median_rows": statistics.median(delays), "most_rows": max(delays)}
        )  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
    return found


def _stream(
    rows: HeldOut,
    random: np.random.Generator,
    weights: Array,
    count: int,
    truth: Array,
    test: ConceptTest | None = None,
) -> tuple[ConceptTest, int]:
    """Rows of one half, by a map of the other, through the test: it, and how many rows it had."""
    half = len(rows.scores) // 2
    made = calibration.fit(BINARY, rows.scores[:half], rows.truth[:half], {})
    test, margin = test or ConceptTest(), MapMargin(made, ServerSettings.decay_margin)
    share = weights[half:] / weights[half:].sum()
    drawn = half + random.choice(len(rows.scores) - half, count, p=share)
    scores, decided = rows.scores[drawn], rows.decided[drawn]
    least = expected(made, scores, decided) - margin.add(scores)
    test.add(least, decided == truth[drawn])
    return test, test.rows


def _quiet(rows: HeldOut) -> list[dict[str, Any]]:
    """Alarms where there is nothing to tell: shifted rows with true labels, and streams whose
    labels follow their scores."""
    found = []
    for name, weights in _weights(rows.raw):
        tests = [
            _stream(rows, np.random.default_rng(order), weights, 2000, rows.truth)[0]
            for order in range(ORDERS)
        ]
        found.append({"of": name, "streams": ORDERS, "rows": 2000,
                      "alarms": sum(bool(test.alarm) for test in tests)})  # fmt: skip
    half = len(rows.scores) // 2
    made = calibration.fit(BINARY, rows.scores[:half], rows.truth[:half], {})
    right = expected(made, rows.scores, rows.decided)
    random, alarms = np.random.default_rng(5), 0
    for _ in range(STREAMS):
        drawn = right[random.integers(0, len(right), 10_000)]
        test = ConceptTest()
        test.add(drawn, random.random(len(drawn)) < drawn)
        alarms += bool(test.alarm)
    found.append({"of": "labels that follow their scores, without a margin", "streams": STREAMS,
                  "rows": 10_000, "alarms": alarms})  # fmt: skip
    found += [_small_maps(held_out, shift) for held_out in (1000, 5000) for shift in SHIFTS]
    return found


def _small_maps(held_out: int, shift: float) -> dict[str, Any]:
    """Alarms by maps of few rows, where inputs move and labels go on following the same law."""
    random, alarms = np.random.default_rng(6), 0

    def drawn(rows: int, at: float, wide: float) -> tuple[Array, Array]:
        scores = 1 / (1 + np.exp(-random.normal(at, wide, rows)))
        return scores.astype(np.float32), random.random(rows) < scores

    for _ in range(MAPS):
        made = calibration.fit(BINARY, *drawn(held_out, 0.0, 2.0), {})
        test, margin = ConceptTest(), MapMargin(made, ServerSettings.decay_margin)
        scores, truth = drawn(10_000, shift, 1.0)
        decided = scores > 0.5
        test.add(expected(made, scores, decided) - margin.add(scores), decided == truth)
        alarms += bool(test.alarm)
    return {"of": f"a map of {held_out} rows, scores moved by {shift} in log odds",
            "streams": MAPS, "rows": 10_000, "alarms": alarms}  # fmt: skip


def _cost(published: Path, scratch: Path) -> dict[str, Any]:
    """What decay adds to a request, and to a server's memory."""
    (instance,) = loading.load(published, "taxi", 1, 1, 1)
    description, settings = instance.description, ServerSettings(drift_rate=10**6)
    recorded = vectors.read(published / vectors.FILE, description.signature)
    row = {name: array[:1] for name, array in recorded.inputs.items()}
    answer = instance.run(row)
    tracing.around(lambda _: None, _Asked())(instance)
    assert description.reference is not None
    seconds = []
    for decay in (None, watched(description, settings)):
        watch, times = Watch(description.reference, settings, decay), []
        for _ in range(200):
            began = time.perf_counter()
            for _ in range(100):
                watch.observe(row, answer)
            times.append((time.perf_counter() - began) / 100)
            watch.drain()
        seconds.append(statistics.median(times))
    bare = scratch / "bare"
    shutil.copytree(published, bare)
    manifest = json.loads((bare / bundle.MANIFEST).read_text())
    for name in (calibration.FILE,):
        (bare / name).unlink()
        del manifest["files"][name]
    (bare / bundle.MANIFEST).write_text(json.dumps(manifest))
    # without named requests and a map there is nothing to keep and to estimate
    without, _ = _served(bare, row, named=False)
    with_all, p50 = _served(published, row, named=True)
    return {
        "observer_us": [round(1e6 * each, 2) for each in seconds],
        "p50_us": round(1e6 * p50, 1),
        "share_of_p50": round((seconds[1] - seconds[0]) / p50, 4),
        "more_memory_bytes": with_all - without,
    }


class _Asked:
    """A request with headers as a client sends them."""

    def __init__(self) -> None:
        self.headers = {b"host": b"localhost", b"x-request-id": b"trip-123456"}
        self.served: Any = None


def _served(folder: Path, row: Mapping[str, Array], named: bool) -> tuple[int, float]:
    """Resident memory of a server after 10,000 requests, in bytes, and their median in seconds."""
    command = [sys.executable, "-m", "edgeline.server", str(folder), "--port", "0", "--poll", "0"]
    with subprocess.Popen(
        [*command, "--drift-rate", "100000"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split("http=")[1].split()[0])
            body = json.dumps({"instances": [_sent(row)]}).encode()
            connection = http.client.HTTPConnection("127.0.0.1", port)
            times = []
            for number in range(10_000):
                began = time.perf_counter()
                headers = {"X-Request-Id": f"trip-{number}"} if named else {}
                connection.request("POST", "/v1/models/taxi:predict", body, headers)
                answer = connection.getresponse()
                content = answer.read()
                assert answer.status == 200, content
                times.append(time.perf_counter() - began)
            time.sleep(1)  # what was sampled is counted a moment later
            if named:
                labels = b"".join(b'{"id": "trip-%d", "label": 1}\n' % n for n in range(5000))
                connection.request("POST", "/labels/taxi", labels)
                print(connection.getresponse().read().decode(), flush=True)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            (line,) = (x for x in text.splitlines() if x.startswith("process_resident_memory"))
            return int(float(line.split()[1])), statistics.median(times)
        finally:
            process.terminate()
            process.wait()


def _sent(row: Mapping[str, Array]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        return None if value == MISSING_INT or value != value else value

    return {name: plain(array.reshape(-1).tolist()[0]) for name, array in row.items()}


if __name__ == "__main__":
    sys.exit(main())
