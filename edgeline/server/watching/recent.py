"""The last minutes of each version: requests, errors and latency, for the page at `/`.

A sample is what was counted since the one before it. Memory is bounded: a ring of samples for
each version that is served, dropped with it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edgeline.server.metrics import BUCKETS, Metrics, ModelMetrics

EVERY = 2.0  # seconds
SAMPLES = 150


@dataclass
class _Track:
    counts: list[int]
    errors: int
    samples: deque[tuple[float, int, list[int]]] = field(
        default_factory=lambda: deque(maxlen=SAMPLES)
    )


class Recent:
    """Call `sample` often; it takes one every `EVERY` seconds."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tracks: dict[tuple[str, int], _Track] = {}
        self._next = 0.0

    def sample(self, serving: Iterable[tuple[str, int, int]]) -> None:
        """Count what the versions that are served have done since the last sample."""
        now = time.time()
        if now < self._next:
            return
        self._next = now + EVERY
        keys = {(name, version) for name, version, _ in serving}
        for gone in self._tracks.keys() - keys:
            del self._tracks[gone]
        for key in keys:
            metrics = self._metrics.of(*key)
            counts, errors = list(metrics.answered.counts), failures(metrics)
            track = self._tracks.get(key)
            if track is None:
                self._tracks[key] = _Track(counts, errors)
                continue
            grown = [new - old for new, old in zip(counts, track.counts, strict=True)]
            track.samples.append((now, errors - track.errors, grown))
            track.counts, track.errors = counts, errors

    def describe(self, model: str, version: int) -> dict[str, object]:
        """Latency in seconds over all samples, and the samples:
        [time, requests per second, errors per second, p50, p95], null where nothing was asked."""
        track = self._tracks.get((model, version))
        samples = list(track.samples) if track else []
        total = [0] * (len(BUCKETS) + 1)
        points = []
        for when, errors, counts in samples:
            total = [a + b for a, b in zip(total, counts, strict=True)]
            p50, p95 = percentile(counts, 0.5), percentile(counts, 0.95)
            rate = sum(counts) / EVERY
            points.append([round(when, 1), round(rate, 2), round(errors / EVERY, 2), p50, p95])
        latency = {f"p{share}": percentile(total, share / 100) for share in (50, 95, 99)}
        return {"latency": latency, "samples": points}


def failures(metrics: ModelMetrics) -> int:
    """Requests that got an error, those that were never run included."""
    return sum(metrics.codes.values()) - metrics.codes["OK"] + sum(metrics.reasons.values())


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The value below which a share of a histogram lies, linear within its bucket; None of none."""
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for place, count in enumerate(counts):
        if count and below + count >= wanted:
            low = BUCKETS[place - 1] if place else 0.0
            high = BUCKETS[place] if place < len(BUCKETS) else low
            return low + (high - low) * (wanted - below) / count
        below += count
    return BUCKETS[-1]
