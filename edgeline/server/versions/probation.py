"""Versions on trial while they serve: too many failures make one bad, time makes it proven.

Failures are answers that are the model's fault or the server's: the runtime refuses an input
that fits the signature, an internal error, a request that waited too long in the queue. Bad
input is the client's.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from edgeline.server.errors import Code
from edgeline.server.metrics import ModelMetrics

_FAULTS = (Code.FAILED_PRECONDITION.name, Code.INTERNAL.name)


@dataclass(frozen=True)
class Counts:
    """Requests of a version and how many failed."""

    total: int
    failed: int


@dataclass(frozen=True)
class Probation:
    """Of one version.

    Attributes:
        metrics: what its workers count.
        since: when it went live, of `time.monotonic`.
        before: what was counted until then.
    """

    metrics: ModelMetrics
    since: float
    before: Counts

    def verdict(self, rate: float, least: int, seconds: float) -> str | None:
        """Why the version is bad; empty if it is proven; None to go on.

        Args:
            rate: the largest share of requests that may fail.
            least: how many have to fail before it counts.
            seconds: how long a trial lasts.
        """
        now = count(self.metrics)
        total, failed = now.total - self.before.total, now.failed - self.before.failed
        if failed >= max(1, least) and failed > rate * total:
            return f"{failed} of {total} requests failed ({failed / total:.0%}) after it went live"
        return "" if monotonic() - self.since >= seconds else None


def begin(metrics: ModelMetrics) -> Probation:
    """Put a version on trial."""
    return Probation(metrics, monotonic(), count(metrics))


def count(metrics: ModelMetrics) -> Counts:
    """What a version has answered so far."""
    late = metrics.reasons["queue_time"]
    failed = sum(metrics.codes[code] for code in _FAULTS)
    return Counts(sum(metrics.codes.values()) + late, failed + late)
