"""What a device tells its fleet: each version and what came of it, load, drift, memory."""

from __future__ import annotations

import math
import platform
import shutil
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

from edgeline.runtimes.interpreter import runtime_version
from edgeline.server.fleet.protocol import (
    LONGEST_WHY,
    MOST_GROUPS,
    MOST_MODELS,
    DeviceOutcome,
)
from edgeline.server.metrics import BUCKETS, Histogram, Metrics, resident
from edgeline.server.rollouts.rollouts import Rollouts
from edgeline.server.settings import ServerSettings
from edgeline.server.threads import apart
from edgeline.server.updates.updates import Updates
from edgeline.server.versions.served_models import ServedModels
from edgeline.server.versions.verdicts import Verdicts
from edgeline.server.watching.watched_models import Watching
from edgeline.version import __version__

_MOST_COLUMNS = 20  # that drift, of a version


class DeviceReport:
    """Puts a status together from the parts of a server. Used on the event loop."""

    def __init__(
        self,
        settings: ServerSettings,
        served: ServedModels,
        rollouts: Rollouts,
        verdicts: Verdicts,
        updates: Updates | None,
        metrics: Metrics,
        watching: Watching,
    ) -> None:
        self._settings, self._served, self._rollouts = settings, served, rollouts
        self._verdicts, self._updates = verdicts, updates
        self._metrics, self._watching = metrics, watching

    def outcomes(self) -> dict[tuple[str, int], tuple[DeviceOutcome, str]]:
        """What came of each version that serves, is tried, is wanted or failed, and why."""
        found: dict[tuple[str, int], tuple[DeviceOutcome, str]] = {}
        for key, why in self._pending():
            found[key] = why
        for record in self._verdicts.bad().values():
            if record.version >= self._newest(record.name):
                found[record.name, record.version] = "failed", record.reason
        returned = self._rollouts.returned()
        for name, served in list(self._served.models.items()):
            for version in returned.get(name, ()):
                found[name, version] = "returned", "its rollout returned to the version before"
            for version, failure in list(served.failures.items()):
                if not failure.elsewhere and (name, version) not in found:
                    found[name, version] = "failed", failure.reason
            for version in list(served.preparing):
                found[name, version] = "trying", ""
            on = self._rollouts.traffic.get(name)
            for version in list(served.pools):
                tried = version in served.probations or (on and version == on.candidate)
                found[name, version] = "trying" if tried else "serving", ""
        return found

    async def status(self) -> dict[str, Any]:
        """All that is told, without device, counter and time."""
        reports = await apart(self._watching.reports)
        drifting = {
            (r["model"], r["version"]): sorted(r["drifting"])[:_MOST_COLUMNS]
            for r in reports
            if r["drifting"] or r["rows"] >= r["rows_needed"]
        }
        found = self.outcomes()
        decaying = {(r["model"], r["version"]): decays(r) for r in self._watching.decay_told}
        newest = sorted(found, key=lambda key: (-key[1], key[0]))[:MOST_MODELS]
        told: dict[str, Any] = {
            "edgeline": __version__,
            "interpreter": runtime_version(),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "interval": self._settings.fleet_interval,
            "groups": self._settings.groups[:MOST_GROUPS],
            "models": [
                {
                    "model": name,
                    "version": version,
                    "outcome": found[name, version][0],
                    "why": found[name, version][1][:LONGEST_WHY],
                    "drift": drifting.get((name, version)),
                    "decay": decaying.get((name, version)),
                    **self._load(name, version),
                }
                for name, version in sorted(newest)
            ],
            "memory_bytes": resident(),
            "disk_free_bytes": _free(self._settings.state),
        }
        if len(found) > len(newest):
            told["models_left_out"] = len(found) - len(newest)
        if self._updates is not None:
            status = self._updates.status()
            told["update"] = {
                "outcome": status["outcome"] or "none",
                "why": str(status["sentence"])[:LONGEST_WHY],
            }
        return told

    def _newest(self, name: str) -> int:
        """The newest version of a model that serves; 0 for none."""
        served = self._served.models.get(name)
        return max(served.pools, default=0) if served is not None else 0

    def _pending(self) -> Iterator[tuple[tuple[str, int], tuple[DeviceOutcome, str]]]:
        """Versions that are wanted and not here: they failed where their own files are not what was
        signed; whatever else a look has met, as metadata that is not genuine, is no fault of
        theirs, and they wait, as do those whose wave is still to come."""
        if self._updates is None:
            return
        status = self._updates.status()
        waits: Any = status["waits"]
        for name, waiting in waits.items():
            for version, wait in waiting.items():
                yield (name, int(version)), ("waiting", str(wait["sentence"]))
        why = str(status["sentence"])
        pending: Any = status["pending"]
        refused: Any = status["refused"]
        for name, versions in pending.items():
            for version in versions:
                fault = refused.get(name, {}).get(str(version), "")  # its keys were JSON's
                yield (name, version), ("failed", fault) if fault else ("waiting", why)

    def _load(self, name: str, version: int) -> Mapping[str, object]:
        metrics = self._metrics.models.get((name, version))
        if metrics is None:
            return {}
        requests = sum(metrics.codes.values())
        return {
            "requests": requests,
            "errors": requests - metrics.codes["OK"],
            "latency_p50_ms": quantile_ms(metrics.answered, 0.5),
            "latency_p95_ms": quantile_ms(metrics.answered, 0.95),
        }


def decays(report: Mapping[str, Any]) -> bool | None:
    """Whether a version decays, by its report of `GET /decay`; None where it has too few rows to
    tell."""
    estimated, measured = report["estimated"], report["measured"]
    if estimated["decayed"] or measured["decayed"] or report["concept"]["drifting"]:
        return True
    enough = max(estimated["rows"], measured["rows"]) >= report["rows_needed"]
    return False if enough else None


def quantile_ms(times: Histogram, share: float) -> float | None:
    """A quantile of a histogram of seconds, in milliseconds; None where nothing is counted.

    Straight between the two bounds of its bucket, as Prometheus' `histogram_quantile` has it; above
    the last bound it is that bound.
    """
    counts = list(times.counts)
    sums = [sum(counts[: place + 1]) for place in range(len(counts))]
    if not sums[-1]:
        return None
    rank = share * sums[-1]
    place = bisect_left(sums, rank)
    if place >= len(BUCKETS):
        return 1000 * BUCKETS[-1]
    low = BUCKETS[place - 1] if place else 0.0
    before = sums[place - 1] if place else 0
    inside = (rank - before) / counts[place] if counts[place] else 0.0
    value = 1000 * (low + (BUCKETS[place] - low) * inside)
    return round(value, 3) if math.isfinite(value) else None


def _free(state: str | None) -> int | None:
    try:
        return shutil.disk_usage(state or ".").free
    except OSError:
        return None
