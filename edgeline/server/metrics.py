"""What Prometheus reads: counters and histograms of fixed size, written by hand.

`METRICS` is all that there is: who counts yields samples alone, and they are put under its head,
with `# HELP` and `# TYPE`.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from edgeline.artifacts.pixels import decoding
from edgeline.server.errors import ServingError

BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
METRICS = {
    "edgeline_requests_total": ("counter", "Requests answered, by gRPC status."),
    "edgeline_rejected_total": (
        "counter",
        "Requests that were not run: queue_full, queue_time, cancelled.",
    ),
    "edgeline_queue_seconds": ("histogram", "Time in the queue."),
    "edgeline_work_seconds": ("histogram", "Time of decoding, inference and encoding."),
    "edgeline_request_seconds": ("histogram", "Time in the queue and at work."),
    "edgeline_queue_length": ("gauge", "Requests that wait now."),
    "edgeline_model_ready": ("gauge", "1 while a version is served."),
    "edgeline_model_loads_total": ("counter", "Loads by result: ok, failed; dropped later."),
    "edgeline_model_device": ("gauge", "1 for what a version runs on (cpu, edgetpu) and in."),
    "edgeline_rollout_weight": ("gauge", "Share of requests that a candidate gets."),
    "edgeline_rollout_requests": ("gauge", "Requests that a candidate has had."),
    "edgeline_rollout_errors": ("gauge", "Requests that failed on a candidate."),
    "edgeline_rollout_rows": ("gauge", "Rows that a shadow has answered."),
    "edgeline_rollout_disagreements": ("gauge", "Rows that a shadow answers otherwise."),
    "edgeline_rollout_dropped": ("gauge", "Requests that a shadow had no time for."),
    "edgeline_rollout_latency_ratio": ("gauge", "Time of a candidate over the stable version's."),
    "edgeline_rollout_decisions_total": ("counter", "Decisions: start, promote, return, end."),
    "edgeline_http_responses_total": ("counter", "HTTP answers by status."),
    "edgeline_connections": ("gauge", "Open connections."),
    "edgeline_buffered_bytes": ("gauge", "Bytes of requests, waiting answers and decoded images."),
    "edgeline_explanations_total": ("counter", "Requests for explanations, by gRPC status."),
    "edgeline_explanation_rows_total": (
        "counter",
        "Rows that models were asked to explain others.",
    ),
    "edgeline_explanation_seconds_total": ("counter", "Seconds at work on explanations."),
    "edgeline_explanations_waiting": ("gauge", "Requests for explanations that wait or run."),
    "edgeline_window_keys": ("gauge", "Keys whose last rows are kept."),
    "edgeline_window_bytes": ("gauge", "Bytes of the rows that are kept."),
    "edgeline_window_evictions_total": ("counter", "Keys that made room, by limit: keys, bytes."),
    "edgeline_drift_rows": ("gauge", "Rows in the window that is compared with the training."),
    "edgeline_drift_drifting": ("gauge", "Columns that drift."),
    "edgeline_drift_psi": ("gauge", "Population stability index of a column."),
    "edgeline_drift_ks": ("gauge", "Kolmogorov-Smirnov statistic of a numeric column."),
    "edgeline_drift_unseen": ("gauge", "Share of values that did not occur in the training."),
    "edgeline_drift_missing": ("gauge", "Share of missing values of a column."),
    "edgeline_decay_rows": ("gauge", "Rows that decay is told from: estimated, measured."),
    "edgeline_decay_estimated": (
        "gauge",
        "A metric as the calibrated scores let expect it, and between what it lies at 95 %.",
    ),
    "edgeline_decay_measured": (
        "gauge",
        "A metric of labelled rows, and between what it lies at 95 %; by slice its value.",
    ),
    "edgeline_decay_usual": ("gauge", "A metric on the held-out rows of the training."),
    "edgeline_decay_decayed": ("gauge", "1 for a metric that is worse than usual."),
    "edgeline_decay_concept_drift": (
        "gauge",
        "1 while decisions are right less often than their scores say.",
    ),
    "edgeline_answers_waiting": ("gauge", "Answers that wait for their labels, in rows."),
    "edgeline_answers_kept_share": ("gauge", "Of all named answers, those that wait for labels."),
    "edgeline_answers_bytes": ("gauge", "Bytes of the answers that wait or have got a label."),
    "edgeline_answers_lost_total": (
        "counter",
        "Rows that got no label: thinned (for room), expired, unnamed (the request had no id).",
    ),
    "edgeline_answers_forgotten_total": (
        "counter",
        "Answers that waited for labels when their version was forgotten.",
    ),
    "edgeline_labels_total": ("counter", "Labels: joined, thinned, unknown, repeated, refused."),
    "edgeline_label_files_total": ("counter", "Files of labels: read, failed."),
    "edgeline_out_of_range_rows_total": (
        "counter",
        "Rows with a value of a column outside its range.",
    ),
    "edgeline_payloads_total": ("counter", "Sampled requests: written, failed, dropped."),
    "edgeline_events_total": ("counter", "Events by receiver: sent, failed, dropped."),
    "edgeline_fleet_statuses_sent_total": (
        "counter",
        "Statuses for the fleet: sent, refused (by its server), failed.",
    ),
    "edgeline_mqtt_connected": ("gauge", "1 while the MQTT broker is there."),
    "edgeline_mqtt_sent_bytes_total": (
        "counter",
        "Bytes of messages of a model that the MQTT broker took: answers, alerts, labels.",
    ),
    "edgeline_mqtt_input_bytes_total": (
        "counter",
        "Bytes of a model's inputs, which would have been sent instead of answers.",
    ),
    "edgeline_update_looks_total": ("counter", "Checks for updates: ok, or why not."),
    "edgeline_update_outcome": ("gauge", "1 for what came of the last check."),
    "edgeline_update_stale": ("gauge", "1 while the last check was not ok."),
    "edgeline_update_look_time_seconds": ("gauge", "When the repository was last checked."),
    "edgeline_update_success_time_seconds": ("gauge", "When a check last was ok."),
    "edgeline_update_expiry_time_seconds": ("gauge", "When the signed metadata expires."),
    "edgeline_update_fetched_bytes_total": ("counter", "Bytes of files that were fetched."),
    "edgeline_update_bad_versions": ("gauge", "Versions that are not tried again."),
    "edgeline_update_pending_versions": ("gauge", "Versions that are wanted and have not come."),
    "edgeline_update_waiting_versions": (
        "gauge",
        "Versions whose wave of this device has not begun.",
    ),
    "edgeline_update_withdrawn_versions": (
        "gauge",
        "Withdrawn versions that serve until another works here.",
    ),
    "process_resident_memory_bytes": ("gauge", "Resident memory of this process."),
    "process_start_time_seconds": ("gauge", "When this process started."),
}
# each from 0: Prometheus sees no increase in a counter that begins with its first event
_LOADS = ("dropped", "failed", "ok")
_OF_HISTOGRAM = ("_bucket", "_sum", "_count")
VERSIONS = 32  # of a model that are remembered
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts by bucket, and a sum. Not safe for threads: its owner locks."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)


class ModelMetrics:
    """Of one version of a model, counted by its workers."""

    def __init__(self, model: str, version: int) -> None:
        self.model, self.version = model, version
        self.codes: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.queued, self.worked, self.answered = Histogram(), Histogram(), Histogram()
        self._lock = threading.Lock()

    def done(self, queued: float, worked: float, answer: Any) -> None:
        """Count a request that ran: seconds in the queue, at work, and what came of it."""
        code = answer.code.name if isinstance(answer, ServingError) else "OK"
        with self._lock:
            self.codes[code] += 1
            self.queued.add(queued)
            self.worked.add(worked)
            self.answered.add(queued + worked)

    def rejected(self, reason: str) -> None:
        """Count a request that did not run."""
        with self._lock:
            self.reasons[reason] += 1

    @property
    def labels(self) -> str:
        return f'model="{self.model}",version="{self.version}"'


class Metrics:
    """Of the whole server. `models` keeps the last versions that are gone: counters never fall."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, int], ModelMetrics] = {}
        self.loads: Counter[tuple[str, str]] = Counter()
        self.statuses: Counter[int] = Counter()
        self.connections = 0
        self.buffered = 0  # of the event loop
        self._at_work, self._lock = 0, threading.Lock()
        self.started = time.time()

    def work(self, size: int) -> int:
        """Count bytes that workers take, or with a negative number no more do; all that is held."""
        with self._lock:
            self._at_work += size
            return self.buffered + self._at_work

    def of(self, model: str, version: int) -> ModelMetrics:
        """The metrics of a version, made when first asked for; old versions are forgotten."""
        if (found := self.models.get((model, version))) is None:
            kept = sorted(key for key in self.models if key[0] == model)
            for key in kept[: max(0, len(kept) - VERSIONS)]:
                del self.models[key]
            found = self.models[model, version] = ModelMetrics(model, version)
        return found

    def render(
        self,
        serving: Iterable[tuple[str, int, int]],
        reporters: Iterable[Callable[[], Iterable[str]]],
    ) -> bytes:
        """The text format; `serving` gives name, version and queue length of what is served, and
        `reporters` the lines of what else is measured."""
        others = (line for lines in reporters for line in lines())
        samples = (*self._lines(list(serving)), *others, *self._of_process())
        return "\n".join([*under_heads(samples), ""]).encode(errors="backslashreplace")

    def _lines(self, serving: list[tuple[str, int, int]]) -> Iterator[str]:
        models = list(self.models.values())
        for m in models:
            for code, count in sorted(m.codes.items()):
                yield f'edgeline_requests_total{{{m.labels},code="{code}"}} {count}'
        for m in models:
            for reason, count in sorted(m.reasons.items()):
                yield f'edgeline_rejected_total{{{m.labels},reason="{reason}"}} {count}'
        yield from _histogram("edgeline_queue_seconds", [(m.labels, m.queued) for m in models])
        yield from _histogram("edgeline_work_seconds", [(m.labels, m.worked) for m in models])
        yield from _histogram("edgeline_request_seconds", [(m.labels, m.answered) for m in models])
        for name, version, waiting in serving:
            yield f'edgeline_queue_length{{model="{name}",version="{version}"}} {waiting}'
        for name, version, _ in serving:
            yield f'edgeline_model_ready{{model="{name}",version="{version}"}} 1'
        for name in sorted({name for name, _ in self.loads}):
            for result in _LOADS:
                count = self.loads[name, result]
                yield f'edgeline_model_loads_total{{model="{name}",result="{result}"}} {count}'
        for status, count in sorted(self.statuses.items()):
            yield f'edgeline_http_responses_total{{status="{status}"}} {count}'
        yield f"edgeline_connections {self.connections}"
        yield f"edgeline_buffered_bytes {self.buffered + self._at_work + decoding.size}"

    def _of_process(self) -> Iterator[str]:
        yield f"process_resident_memory_bytes {resident()}"
        yield f"process_start_time_seconds {self.started:.3f}"


def escaped(value: str) -> str:
    """A text as the value of a label."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resident() -> int:
    """Resident memory of this process in bytes, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def under_heads(
    samples: Iterable[str], metrics: Mapping[str, tuple[str, str]] = METRICS
) -> Iterator[str]:
    """Samples by metric, however many parts of the server count it, each under its head."""
    found: dict[str, list[str]] = {}
    for sample in samples:
        name = sample.partition(" ")[0].partition("{")[0]
        if name not in metrics:
            name = next((name.removesuffix(e) for e in _OF_HISTOGRAM if name.endswith(e)), name)
        found.setdefault(name, []).append(sample)
    for name, lines in found.items():
        kind, about = metrics[name]
        yield f"# HELP {name} {about}"
        yield f"# TYPE {name} {kind}"
        yield from lines


def _histogram(name: str, series: Iterable[tuple[str, Histogram]]) -> Iterator[str]:
    for labels, histogram in series:
        running = 0
        for bound, count in zip((*BUCKETS, "+Inf"), list(histogram.counts), strict=True):
            running += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {running}'
        yield f"{name}_sum{{{labels}}} {histogram.total:.9g}"
        yield f"{name}_count{{{labels}}} {running}"
